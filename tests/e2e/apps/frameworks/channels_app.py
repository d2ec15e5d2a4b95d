from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

settings.configure(SECRET_KEY="for this test only")


class Consumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        await self.send("hello")
        await self.close()


app = ProtocolTypeRouter({"websocket": URLRouter([path("websocket", Consumer.as_asgi())])})
