"""A program that tunes, from its start to its end: what it leaves running, and what it does not."""

from trialdeck import Experiment


def test_ctrl_c_stops_it_says_how_to_go_on_and_leaves_nothing(deck):
    """NNI-E2: the console that the program started ends with it."""
    program = deck.program
    assert (program.returncode, program.left) == (0, {}), program.wrong
    assert "the metric is maximized" in program.output
    *_, to_go_on, returned = program.output.splitlines()
    assert to_go_on == f"To resume: Experiment.resume('{experiment_of(program.output)}', {deck.port})"
    assert returned == "returned None"
    assert "Traceback" not in program.wrong


def test_the_next_program_resumes_it_and_its_numbers_go_on(deck):
    """NNI-S3, TD-A9: on a console that another start brought up; interrupted trials are retried, free of budget."""
    resumed = Experiment.resume(experiment_of(deck.program.output), deck.port)
    assert [(job.sequenceId, job.status) for job in resumed.list_trial_jobs()] == [
        (0, "USER_CANCELED"),
        (1, "USER_CANCELED"),
        (2, "SUCCEEDED"),
        (3, "SUCCEEDED"),
        (4, "SUCCEEDED"),
        (5, "SUCCEEDED"),
    ]
    parameters = [job.hyperParameters[0].parameters for job in resumed.list_trial_jobs()]
    assert sorted(map(str, parameters[:2])) == sorted(map(str, parameters[2:4]))
    assert resumed.get_status() == "DONE"


def experiment_of(message: str) -> str:
    return message.rpartition("Experiment.resume('")[2].partition("'")[0]
