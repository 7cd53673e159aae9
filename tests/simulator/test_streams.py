"""Server-sent events."""

from dataclasses import dataclass

from tests.simulator.conftest import Api

LLAMA = "meta/meta-llama-3-8b-instruct"


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: str


def parse(text: str) -> list[Event]:
    events = []
    for block in text.split("\n\n"):
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name:
                fields.setdefault(name.rstrip(":"), []).append(value)
        if "event" in fields:
            events.append(Event(fields["event"][0], fields["id"][0], "\n".join(fields["data"])))
    return events


async def test_tokens_arrive_as_events_and_make_up_the_output(api: Api) -> None:
    fresh = await api.create(LLAMA, {"prompt": "hi", "min_tokens": 120})
    answer = await api.passing(api.plain(fresh["urls"]["stream"]), step=0.05)
    assert answer.headers["content-type"] == "text/event-stream"
    events = parse(answer.text)
    assert [event.data for event in events if event.name == "output"] == (
        (await api.read(fresh))["output"]
    )
    assert "\n\n" in [event.data for event in events]
    assert (events[-1].name, events[-1].data) == ("done", "{}")
    assert len({event.id for event in events}) == len(events)


async def test_events_are_sent_when_they_happen(api: Api) -> None:
    fresh = await api.create(LLAMA, {"prompt": "hi"})
    api.clock.advance(0.5)
    async with api.client.stream("GET", fresh["urls"]["stream"]) as answer:
        pieces = answer.aiter_text()
        so_far = await anext(pieces)
        assert "event: output" in so_far
        assert "event: done" not in so_far
        api.clock.advance(10)
        rest = "".join([piece async for piece in pieces])
    assert "event: done" in rest


async def test_a_reader_resumes_after_its_last_event(api: Api) -> None:
    done = await api.finished(LLAMA, {"prompt": "hi"})
    whole = parse((await api.plain(done["urls"]["stream"])).text)
    headers = {"Last-Event-ID": whole[9].id}
    rest = parse((await api.plain(done["urls"]["stream"], headers=headers)).text)
    assert rest == whole[10:]
    at_the_end = {"Last-Event-ID": whole[-1].id}
    again = parse((await api.plain(done["urls"]["stream"], headers=at_the_end)).text)
    assert again == whole[-1:]
    strange = {"Last-Event-ID": "x:7"}
    assert parse((await api.plain(done["urls"]["stream"], headers=strange)).text) == whole


async def test_pictures_stream_logs_and_addresses(api: Api) -> None:
    done = await api.finished("black-forest-labs/flux-schnell", {"prompt": "x", "num_outputs": 2})
    events = parse((await api.plain(done["urls"]["stream"])).text)
    assert [event.data for event in events if event.name == "output"] == done["output"]
    assert "".join(event.data for event in events if event.name == "logs") == done["logs"]
    assert events[-1].name == "done"


async def test_a_failure_and_a_cancel_end_the_stream_with_a_reason(api: Api) -> None:
    fresh = await api.create("simulated/slow", {"seconds": 1000})
    api.clock.advance(2.5)
    await api.post(fresh["urls"]["cancel"])
    events = parse((await api.plain(fresh["urls"]["stream"])).text)
    assert [event.name for event in events] == ["logs", "logs", "done"]
    assert events[-1].data == '{"reason":"canceled"}'


async def test_a_cancel_reaches_a_reader_who_waits(api: Api) -> None:
    fresh = await api.create("simulated/slow", {"seconds": 1000})
    async with api.client.stream("GET", fresh["urls"]["stream"]) as answer:
        await api.post(fresh["urls"]["cancel"])
        text = "".join([piece async for piece in answer.aiter_text()])
    assert "canceled" in text


async def test_heartbeats_are_comments(api: Api) -> None:
    fresh = await api.create("simulated/slow", {"seconds": 1, "queue_seconds": 100})
    answer = await api.passing(api.plain(fresh["urls"]["stream"]), step=1.0)
    assert answer.text.startswith(": still here\n\n")
    assert [event.name for event in parse(answer.text)] == ["logs", "output", "done"]


async def test_a_stream_that_is_not_there_is_answered_404(api: Api) -> None:
    fresh = await api.create(LLAMA, {"prompt": "hi"})
    url = fresh["urls"]["stream"]
    for wrong in (url[:-1] + "x", url.replace("/streams/", "/files/"), url + "/more"):
        assert (await api.plain(wrong)).status_code == 404


async def test_models_that_cannot_stream_name_no_stream(api: Api) -> None:
    fresh = await api.create("simulated/echo", {})
    assert "stream" not in fresh["urls"]
