"""The readers of the library."""

from django.contrib.auth.models import AbstractBaseUser
from django.db import models


class Reader(AbstractBaseUser):
    """A reader with a card. It has no table: `backend.py` knows them all."""

    card = models.CharField(max_length=20, primary_key=True)
    last_login = None
    USERNAME_FIELD = "card"

    class Meta:
        managed = False
