--- Now and then through all that is listed and held: which certificate ends first, how many have, which tombstones go.
local held = require("edge.held")
local index = require("edge.index")
local progress = require("edge.progress")

local state = ngx.shared.edge_state

local _M = {}

local AT_ONCE = 200
local HOSTS_A_SECOND = 2000 -- (1) of rest after so many: 100,000 once a minute
local PAUSE = 0.005
local READ_SIZE = 2.5 -- kB

--- One hostname: a tombstone that Redis has purged goes, what a live host's certificate says is added to `found`.
local function look(name, found)
  local letter, rev = (index.get(name) or ""):match("^(%u)(%d+)")
  if letter == "X" and tonumber(rev) <= found.floor then
    return index.delete(name)
  end
  local host = letter == "A" and held.summary(name)
  local ends = host and tonumber(host.not_after)
  if ends then
    found.first = math.min(found.first or ends, ends)
    found.ended = found.ended + (ends <= ngx.time() and 1 or 0)
  end
end

--- Go through everything, some at a time; what was found stands in shared memory.
local function once()
  local names = index.names()
  local found = { floor = progress.get("floor") or 0, ended = 0 }
  for position, name in ipairs(names) do
    look(name, found)
    if position % AT_ONCE == 0 then
      collectgarbage("step", READ_SIZE * AT_ONCE) -- (2) or the heap grows to double of what lives
      ngx.sleep(PAUSE)
    end
  end
  state:set("held_ends", found.first)
  state:set("expired_served", found.ended)
  return #names
end

--- The syncer's third thread: sweep for as long as it lives.
function _M.run()
  while not ngx.worker.exiting() do
    local until_time = ngx.now() + 1 + once() / HOSTS_A_SECOND
    while ngx.now() < until_time and not ngx.worker.exiting() do
      ngx.sleep(1)
    end
  end
end

--- When the first certificate ends that is served here, or would be: of what is held and of what is published.
function _M.first_end()
  local ends, published = state:get("held_ends"), state:get("published_ends")
  return math.min(ends or math.huge, published or math.huge)
end

return _M
