"""The console's addresses, as they are with a provider."""

from console import openid, urls

urlpatterns = [*urls.urlpatterns, *openid.urlpatterns]
