import strawberry
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    @strawberry.field
    async def greeting(self) -> str:
        return "hello"


app = GraphQL(strawberry.Schema(Query))
