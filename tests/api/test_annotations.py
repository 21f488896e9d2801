"""Comments and stars through the API."""

from experiments.models import Trial


def test_comments_and_stars(running, api, carol, bob):
    """TD-C8: the same rights as on the page."""
    experiment = running()
    path = f"/experiments/{experiment.public_id}/trials/1"
    viewer, operator = api(carol), api(bob)
    assert viewer.post(f"{path}/comments", {"text": "Good."}).status_code == 201
    assert viewer.post(f"{path}/comments", {"text": ""}).status_code == 422
    assert viewer.post(f"{path}/comments", {"text": " \n"}).status_code == 422
    listed = viewer.get(f"{path}/comments").json()["items"]
    assert [(comment["by"], comment["text"]) for comment in listed] == [("carol", "Good.")]
    assert viewer.post(f"{path}/star").status_code == 403
    assert operator.post(f"{path}/star").json()["is_starred"] is True
    assert operator.post(f"{path}/star").status_code == 200
    assert operator.get(path).json()["comment_count"] == 1
    assert operator.post(f"{path}/unstar").json()["is_starred"] is False
    assert Trial.objects.get(number=1).starred_at is None


def test_comments_are_edited_by_authors_and_deleted_by_owners_too(running, api, alice, bob, carol):
    """TD-C8: as on the page."""
    path = f"/experiments/{running().public_id}/trials/1/comments"
    created = api(carol).post(path, {"text": "Frist."}).json()
    row = f"{path}/{created['id']}"
    assert created["edited_at"] is None
    assert api(bob).patch(row, {"text": "Mine."}).status_code == 403
    assert api(alice).patch(row, {"text": "Mine."}).status_code == 403
    assert api(carol).patch(row, {"text": " "}).status_code == 422
    edited = api(carol).patch(row, {"text": "First."}).json()
    assert edited["text"] == "First." and edited["edited_at"]
    assert api(carol).patch(f"{path}/999", {"text": "None."}).status_code == 404
    assert api(bob).delete(row).status_code == 403
    assert api(alice).delete(row).status_code == 204
    assert api(carol).delete(row).status_code == 404
    assert api(carol).get(f"/experiments/{path.split('/')[2]}/trials/1").json()["comment_count"] == 0
