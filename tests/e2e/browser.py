"""A customer over real HTTP: a browser with cookies and the CSRF token, or a program with an access token."""

import json
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

PASSWORD = "enigma-1815"


class Browser:
    """A browser or a program: keeps cookies, sends the CSRF token or a bearer."""

    def __init__(self, url):
        self.url, self.bearer = url, None
        self.jar = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), _NoRedirect())

    def cookie(self, name):
        return next((cookie.value for cookie in self.jar if cookie.name == name), None)

    def send(self, method, path, body=None, *, form=None, headers=None):
        sent = dict(headers or {})
        if self.bearer:
            sent["Authorization"] = f"Bearer {self.bearer}"
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
            if self.cookie("csrftoken"):
                sent["X-CSRFToken"] = self.cookie("csrftoken")
        if form is not None:
            fields = list(form.items()) if isinstance(form, dict) else form
            data = urllib.parse.urlencode([*fields, ("csrfmiddlewaretoken", self.cookie("csrftoken"))]).encode()
        path = path if path.startswith("/") else f"/api/v1/{path}"
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=sent)
        try:
            answer = self.opener.open(request, timeout=15)
        except urllib.error.HTTPError as error:
            answer = error
        raw = answer.read()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, json.loads(raw) if raw and is_json else raw.decode(), answer.headers

    def sign_in(self, name="ada", password=PASSWORD):
        self.send("GET", "/login/")
        status, _, headers = self.send("POST", "/login/", form={"username": name, "password": password})
        assert (status, headers["Location"]) == (302, "/")
        return self

    def get_tokens(self, name="ada", password=PASSWORD):
        status, body, _ = self.send("POST", "auth/token/", {"username": name, "password": password})
        assert status == 200, body
        self.bearer = body["access"]
        return body["refresh"]

    def status(self):
        return self.send("GET", "orders/")[0]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
