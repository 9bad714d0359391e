--- What a look at the feed means, case by case (docs/decisions.md, 4).
package.path = "lua/?.lua;" .. package.path
package.loaded["edge.redis"] = {}
local feed = require("edge.feed")

local function look(changes)
  local base = {
    epoch = "e1",
    complete_epoch = "e1",
    complete_hosts = 3,
    rev = 10,
    floor = 0,
    changes = {},
  }
  for name, value in pairs(changes or {}) do
    base[name] = value ~= "nil" and value or nil
  end
  return base
end

local mine = { epoch = "e1", applied = 10, hosts = 3 }

describe("judge", function()
  local cases = {
    { "an empty Redis is waited out", look({ epoch = "nil" }), mine, "wait", "empty" },
    { "an unreadable feed is waited out", look({ changes = "nil" }), mine, "wait", "unreadable" },
    { "the first look is followed", look(), { applied = 0, hosts = 0 }, "follow" },
    {
      "hosts that outlived our progress are compared with a complete one",
      look({ changes = { { name = "a", rev = 1 } } }),
      { applied = 0, hosts = 2 },
      "compare",
    },
    {
      "and kept while that is not complete",
      look({ changes = { { name = "a", rev = 1 } }, complete_epoch = "nil" }),
      { applied = 0, hosts = 2 },
      "follow",
    },
    { "our own data set is followed", look(), mine, "follow" },
    { "an old dump is waited out", look({ rev = 9 }), mine, "wait", "rewound" },
    { "below the floor, the whole is compared", look({ rev = 30, floor = 20 }), mine, "compare" },
    {
      "below the floor of an incomplete data set, nothing is dropped",
      look({ rev = 30, floor = 20, complete_epoch = "nil" }),
      mine,
      "follow",
    },
    {
      "a rebuild under way is followed for what is newer",
      look({ epoch = "e2" }),
      mine,
      "follow",
      "rebuilding",
    },
    {
      "a complete new data set is compared",
      look({ epoch = "e2", complete_epoch = "e2" }),
      mine,
      "compare",
    },
    {
      "a complete but empty one is not believed",
      look({ epoch = "e2", complete_epoch = "e2", complete_hosts = 0 }),
      mine,
      "wait",
      "emptied",
    },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local verdict, alarm = feed.judge(case[2], case[3])
      assert.equal(case[4], verdict)
      assert.equal(case[5], alarm)
    end)
  end
end)
