"""OpenResty calls the Redis client `resty.redis`, Debian `nginx.redis`: the edge runs with either name alone."""

import shutil
from pathlib import Path

import pytest

from tests.edge.conftest import A
from tests.edge.visitor import eventually

LUA = Path(__file__).parents[2] / "lua"
SYSTEM = Path("/usr/share/lua/5.1/nginx/redis.lua")
ABSENT = 'error("this machine has no such module")\n'


@pytest.mark.parametrize("name", ["resty", "nginx"])
def test_the_edge_serves_with_a_client_of_that_name_only(edges, tmp_path, name):
    lua = tmp_path / "lua"
    shutil.copytree(LUA, lua)
    other = {"resty": "nginx", "nginx": "resty"}[name]
    for folder in (name, other):
        (lua / folder).mkdir()
    shutil.copy(SYSTEM, lua / name / "redis.lua")
    (lua / other / "redis.lua").write_text(ABSENT)
    edge = edges.make(lua=str(lua))
    edge.settle(edge.publisher.publish(A))
    assert edge.serves(A) == edge.publisher.leaves[A].sha256
    assert edge.get(A).status == 200
    key = f"vh:edge:{edge.env['EDGE_ID']}"
    eventually(lambda: edge.redis.hget(key, "rev") == edge.redis.get("vh:rev"))


def test_without_any_client_nginx_does_not_start(edges, tmp_path):
    lua = tmp_path / "lua"
    shutil.copytree(LUA, lua)
    for folder in ("resty", "nginx"):
        (lua / folder).mkdir()
        (lua / folder / "redis.lua").write_text(ABSENT)
    edge = edges.make(start=False, lua=str(lua))
    with pytest.raises(Exception, match="this machine has no such module"):
        edge.start()
