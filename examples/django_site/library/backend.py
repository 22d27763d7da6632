"""Who may sign in: two readers, where your site has its own way."""

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from library.models import Reader

PASSWORDS = {"ada": "engine", "bob": "bridge"}


class Readers(BaseBackend):
    def authenticate(self, request: HttpRequest, username: str = "", password: str = "") -> Reader | None:
        known = PASSWORDS.get(username)
        return self.get_user(username) if known and constant_time_compare(known, password) else None

    def get_user(self, user_id: str) -> Reader | None:
        return Reader(card=user_id) if user_id in PASSWORDS else None
