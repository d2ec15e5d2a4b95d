"""Django with its static files, as ``runserver`` has them; for development.

    DJANGO_SETTINGS_MODULE=mysite.settings trioserve django_static:application --backend asyncio --reload
"""

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

application = ASGIStaticFilesHandler(get_asgi_application())
