"""A pause, an interval and a limit of bandwidth hold data back, over restarts too; a resume and `sync now` let it go."""

from streamline_core.node_state import RETRY_SLOTS_MS
from world import World, produce


def test_a_bandwidth_limit_holds_over_seconds():
    world = World()
    edge = world.edge("e1", sync={"bandwidth_limit": 20000})
    for _ in range(10):
        edge.node.produce_many("t", [b"x" * 200] * 100)
        world.run(20)
    edge.connect()
    world.run(1000)
    before = edge.node.link.counters["bytes_out"]
    world.run(5000)
    sent = edge.node.link.counters["bytes_out"] - before
    assert 95000 < sent < 105000, sent


def test_pause_holds_data_back_and_resume_lets_it_go():
    world = World()
    edge = world.edge().connect()
    edge.node.pause()
    values = produce(edge, 10)
    world.run(2000)
    assert world.values() == []
    edge.node.resume()
    world.run_until(world.drained)
    assert world.values() == [values]


def test_a_pause_lasts_over_restarts_and_so_does_a_resume():
    for enabled in (True, False):
        world = World()
        edge = world.edge("e1", sync={"enabled": enabled}).connect()
        world.run(100)
        assert (edge.node.link.state == "paused") == (not enabled)
        for pause in (True, False, True, False):
            edge.node.pause() if pause else edge.node.resume()
            world.run(100)
            edge.power_cut()
            edge.connect()
            assert (edge.node.link.state == "paused") == pause
        storage_id = edge.node.state.storage_id
        values = produce(edge, 10)
        world.run_until(world.drained)
        edge.power_cut()
        assert world.values() == [values] and edge.node.state.storage_id == storage_id


def test_a_pause_that_the_disk_would_not_note_is_noted_later():
    world = World()
    edge = world.edge().connect()
    world.run(10000)
    replace, tried = edge.storage.replace, []

    def failing(name, data):
        if not name.startswith("node."):
            return replace(name, data)
        tried.append(world.clock.monotonic)
        raise OSError("as asked")

    edge.storage.replace = failing
    edge.node.pause()
    world.run(12000)
    assert [ms - tried[0] for ms in tried] == [0, 5, 5005, 10005]
    edge.storage.replace = replace
    edge.power_cut()
    assert edge.node.link.state != "paused"  # it was never noted
    edge.storage.replace = failing
    edge.node.pause()
    world.run(100)
    edge.storage.replace = replace
    world.run(RETRY_SLOTS_MS)
    edge.power_cut()
    edge.connect()
    assert edge.node.link.state == "paused"


def test_an_interval_paces_and_sync_now_does_not_wait():
    world = World()
    edge = world.edge("e1", sync={"interval_secs": 30}).connect()
    produce(edge, 10)
    world.run_until(world.drained)
    produce(edge, 10, 10)
    world.run(5000)
    assert edge.node.ledger()[0]["pending"] == 10
    edge.node.link.sync_now()
    world.run(500)
    assert edge.node.ledger()[0]["pending"] == 0
    produce(edge, 10, 20)
    world.run(5000)
    assert edge.node.ledger()[0]["pending"] == 10
    world.run(30000, 20)
    assert edge.node.ledger()[0]["pending"] == 0
