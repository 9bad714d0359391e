--- Hosts that an incomplete index does not have yet: what is held of them, what Redis says, or patience.
local held = require("edge.held")
local hosts = require("edge.hosts")
local loading = require("edge.loading")

local _M = {}

local MOST_ASKED = 50
local LONGEST_WAIT, STEP = 2, 0.05
local asked, asked_second = 0, 0

--- Whether Redis may be asked for one name more: fifty a second and worker, so that nobody can make a flood.
function _M.may_ask()
  if ngx.time() ~= asked_second then
    asked_second, asked = ngx.time(), 0
  end
  asked = asked + 1
  return asked <= MOST_ASKED
end

--- The entry once the index has it; nil when it is complete without, or takes longer than two seconds.
local function wait(name)
  local deadline = ngx.now() + LONGEST_WAIT
  local entry
  repeat
    ngx.sleep(STEP)
    entry = hosts.find(name)
  until entry or hosts.complete() or ngx.now() >= deadline
  return entry
end

--- The entry of a canonical name, live or not; nil without. Yields when Redis or the index is waited for.
function _M.find(name)
  local host = held.get(name)
  local word = host and host.word
  if not word and _M.may_ask() then
    host, word = loading.host(name, 0)
    if not host then
      return nil
    end
  end
  if not word then
    return wait(name)
  end
  return hosts.add(name, word)
end

return _M
