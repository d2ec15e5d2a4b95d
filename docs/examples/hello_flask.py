"""A Flask application, which is WSGI. Nothing in it knows about trioserve.

    trioserve --app-dir docs/examples hello_flask:app
"""

from flask import Flask

app = Flask(__name__)


@app.get("/<name>")
def hello(name: str) -> dict[str, str]:
    return {"message": f"Hello, {name}"}
