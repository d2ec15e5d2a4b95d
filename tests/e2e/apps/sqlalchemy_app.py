"""SQLAlchemy's recipe for asyncio in FastAPI: a session for each task, which has to be each request's own.

https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html#using-asyncio-scoped-session
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

folder = tempfile.TemporaryDirectory()
engine = create_async_engine(f"sqlite+aiosqlite:///{os.path.join(folder.name, 'accounts.db')}")
Session = async_scoped_session(async_sessionmaker(engine, expire_on_commit=False), scopefunc=asyncio.current_task)


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(String, primary_key=True)
    balance: Mapped[int]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()
    folder.cleanup()


app = FastAPI(lifespan=lifespan)


forgotten: list[asyncio.Task[Any]] = []
"""Tasks with a timeout of the application's that nobody takes back. It strikes when another request says so."""


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@app.post("/accounts/{name}")
async def open_account(name: str, balance: int) -> None:
    Session.add(Account(name=name, balance=balance))
    await Session.commit()


@app.get("/accounts/{name}")
async def show(name: str) -> dict[str, Any]:
    account = (await Session.execute(select(Account).where(Account.name == name))).scalar_one()
    return {"balance": account.balance}


@app.post("/accounts/{name}/withdraw")
async def withdraw(name: str, amount: int, late_cancel: bool = False) -> dict[str, Any]:
    """Changes first and checks later; what it refuses, it does not take back, and commits not."""
    if late_cancel:
        forgotten.append(own_task())
    account = await Session.get(Account, name)
    assert account is not None
    account.balance -= amount
    if account.balance < 0:
        raise HTTPException(409, "not enough")
    await Session.commit()
    return {"balance": account.balance}


@app.post("/touch")
async def touch(strikes: bool = False) -> dict[str, Any]:
    """Another user's request: commits its own session, in which there is nothing."""
    while strikes and forgotten:
        forgotten.pop().cancel()
    await asyncio.sleep(0)
    await Session.commit()
    return {"cancelling": own_task().cancelling()}
