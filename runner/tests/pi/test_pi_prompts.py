"""What a person sends: held, logged first, told once."""

from __future__ import annotations

import msgspec
import pytest

from oqto_platform import canon
from oqto_platform.errors import Invalid

# Getting ready


def test_prompts_wait_until_pi_answers_and_are_logged_at_once(fresh_driver):
    driver = fresh_driver().open(is_ready=False)
    token = driver.do(canon.Prompt(message="early", client_id="c1"))
    assert [driver.words(one) for one in driver.users()] == ["early"]
    assert driver.of(canon.AgentWorking)[0].phase == "initializing"
    assert not driver.talk.is_ready
    assert not driver.sent("prompt")
    driver.respond("get_state", {"model": {"id": "m", "provider": "p"}})
    assert driver.talk.is_ready
    assert driver.sent("prompt")[0]["message"] == "early"
    driver.respond("prompt")
    assert driver.answer(token).data == {"message_id": driver.users()[0].id}


def test_a_pi_that_never_gets_ready_fails_the_prompt(fresh_driver):
    driver = fresh_driver().open(is_ready=False)
    token = driver.do(canon.Prompt(message="early"))
    driver.tick(31)
    assert "did not answer" in driver.answer(token).error.detail
    assert driver.names()[-2:] == ["agent.error", "agent.idle"]


def test_tells_the_model_that_pi_really_uses(fresh_driver):
    driver = fresh_driver().open(is_ready=False)
    driver.respond("get_state", {"model": {"id": "m", "provider": "p"}, "thinkingLevel": "high"})
    assert driver.of(canon.ModelChanged) == [canon.ModelChanged(provider="p", model_id="m")]
    assert driver.of(canon.ThinkingLevelChanged)[0].level == "high"


# Messages of persons


def test_the_message_is_logged_before_pi_has_it(driver):
    image = canon.Image(data="aGk=", media_type="image/png")
    driver.do(canon.Prompt(message="look", images=(image,), client_id="c1"))
    step = driver.steps[-1]
    assert isinstance(step.events[0], canon.MessageEnd)
    message = step.events[0].message
    assert (message.client_id, message.role) == ("c1", "user")
    assert [type(part) for part in message.parts] == [canon.TextPart, canon.ImagePart]
    line = msgspec.json.decode(step.lines[0])
    assert line["images"] == [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]


def test_the_same_client_id_has_no_second_effect(driver):
    first = driver.do(canon.Prompt(message="once", client_id="c1"))
    driver.respond("prompt")
    again = driver.do(canon.Prompt(message="once", client_id="c1"))
    assert driver.answer(again).data["message_id"] == driver.answer(first).data["message_id"]
    assert len(driver.users()) == len(driver.sent("prompt")) == 1


def test_a_refused_prompt_may_be_sent_again(driver):
    refused = driver.do(canon.Prompt(message="hi", client_id="c1"))
    driver.respond("prompt", error="No API key found for the selected model.\n\nUse /login to log in")
    assert driver.answer(refused).error.detail == "No API key found for the selected model."
    assert driver.names()[-2:] == ["agent.error", "agent.idle"]
    driver.do(canon.Prompt(message="hi", client_id="c1"))
    assert len(driver.sent("prompt")) == 2


@pytest.mark.parametrize("message", ["", "  \n"])
def test_an_empty_message_is_refused(driver, message):
    token = driver.do(canon.Prompt(message=message))
    assert isinstance(driver.answer(token).error, Invalid)
    assert not driver.events


def test_something_that_is_no_image_is_refused(driver):
    token = driver.do(canon.Prompt(message="x", images=(canon.Image(data="", media_type="text/html"),)))
    assert "media_type" in driver.answer(token).error.detail


@pytest.mark.parametrize(
    ("command", "behavior"),
    [(canon.Prompt, "steer"), (canon.Steer, "steer"), (canon.FollowUp, "followUp")],
)
def test_every_kind_of_message_starts_a_turn_when_idle_and_queues_otherwise(driver, command, behavior):
    driver.do(command(message="go"))
    (line,) = driver.sent("prompt")
    assert line["streamingBehavior"] == behavior


def test_pi_repeating_our_message_is_no_second_message(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.do(canon.FollowUp(message="then"))
    driver.tell({"type": "queue_update", "steering": [], "followUp": ["then"]})
    driver.respond("prompt")
    driver.says("done")
    driver.tell({"type": "queue_update", "steering": [], "followUp": []})
    driver.user("then")
    driver.says("done again")
    driver.run_ends()
    assert [driver.words(one) for one in driver.users()] == ["go", "then"]


def test_a_message_that_an_extension_sends_is_told(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.user("from an extension")
    driver.says("ok")
    driver.run_ends()
    driver.run_begins("by itself")
    assert [driver.words(one) for one in driver.users()] == ["go", "from an extension", "by itself"]


def test_equal_messages_are_told_as_often_as_they_were_sent(driver):
    for _ in range(2):
        driver.do(canon.Prompt(message="again"))
        driver.respond("prompt")
    driver.run_begins("again")
    driver.user("again")
    driver.user("again")
    assert [driver.words(one) for one in driver.users()] == ["again"] * 3


def test_a_template_replaces_the_words_under_the_same_id(driver):
    driver.do(canon.Prompt(message="/review main.py", client_id="c1"))
    driver.respond("prompt")
    driver.run_begins("Review the file main.py with care.")
    typed, read = driver.users()
    assert typed.id == read.id
    assert (driver.words(read), read.client_id) == ("Review the file main.py with care.", "c1")
    assert read.metadata["typed"] == "/review main.py"


def test_a_template_that_waits_in_the_queue_is_recognised(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.do(canon.Steer(message="/review x"))
    driver.tell({"type": "queue_update", "steering": ["Review x."], "followUp": []})
    driver.respond("prompt")
    driver.user("Review x.")
    assert [driver.words(one) for one in driver.users()] == ["go", "/review x"]


def test_hints_on_images_do_not_make_another_message(driver):
    image = canon.Image(data="aGk=", media_type="image/png")
    driver.do(canon.Prompt(message="look", images=(image,)))
    driver.respond("prompt")
    driver.run_begins("look\n\n[Image: original 2x2]")
    assert [driver.words(one) for one in driver.users()] == ["look"]


def test_a_command_of_an_extension_is_no_turn_that_never_ends(fresh_driver):
    driver = fresh_driver().open(commands=[{"name": "ask", "source": "extension"}])
    driver.do(canon.Prompt(message="/ask"))
    driver.respond("prompt")
    assert driver.talk.is_working
    driver.tick(0.25)
    driver.respond("get_state", {"isStreaming": False, "isCompacting": False})
    assert driver.names()[-1] == "agent.idle"
    driver.run_begins("sent by the command")
    assert [driver.words(one) for one in driver.users()] == ["/ask", "sent by the command"]


def test_a_slow_command_of_an_extension_is_acknowledged(driver):
    token = driver.do(canon.Prompt(message="/deploy"))
    driver.tick(5.5)
    assert driver.answer(token).error is None
    driver.respond("prompt", error="it broke")
    assert len(driver.answers[token]) == 1
    assert driver.of(canon.AgentError)[-1].error == "it broke"
