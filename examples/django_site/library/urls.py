"""Which view answers where. What is below /bots never gets here, see `asgi.py`."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from library import views

urlpatterns = [
    path("", views.home),
    path("stream/", views.stream),
    path("login/", LoginView.as_view(template_name="login.html")),
    path("logout/", LogoutView.as_view()),
]
