"""Preferences of one browser, signed in or not: cookies that the templates read."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .query_checks import takes

YEAR_S = 365 * 86_400
# Cookie names and values. The first value stands for an unchecked checkbox, which a form does not send.
PREFERENCES = {
    "theme": ("system", "light", "dark"),  # layouts/_color_scheme.html
    "shortcuts": ("off", "on"),  # layouts/_keys.html
    "unseen": ("off", "on"),  # the number of unseen notifications in the browser tab
}


@csrf_exempt  # it changes only the appearance of pages in this browser
@require_POST
@takes()
def prefer(request: HttpRequest, preference: str) -> HttpResponse:
    """Store the value of the field with the preference's name.

    Return 404 for an unknown preference, and 422 with the possible values for another value."""
    if preference not in PREFERENCES:
        raise Http404(f"There is no preference {preference}.")
    values = PREFERENCES[preference]
    value = request.POST.get(preference, values[0])
    if value not in values:
        return HttpResponse(
            f"{preference} is one of: {', '.join(values)}.", status=422, content_type="text/plain"
        )
    response = HttpResponse(status=204)
    response.set_cookie(preference, value, max_age=YEAR_S, samesite="Lax", httponly=True)
    return response
