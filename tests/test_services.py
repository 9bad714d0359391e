"""The services that every other test stands on start, answer, and end."""


def test_redis_answers(redis_server):
    assert redis_server.client.ping()


def test_pebble_hands_out_its_root(pebble):
    assert pebble.root().startswith(b"-----BEGIN CERTIFICATE-----")
    pebble.dns("add-a", host="x.example.", addresses=["127.0.0.9"])
