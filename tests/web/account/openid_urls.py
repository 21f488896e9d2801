"""The console's addresses, as they are with a provider."""

from console import urls
from console.auth import openid

urlpatterns = [*urls.urlpatterns, *openid.urlpatterns]
