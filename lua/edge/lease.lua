--- Who is the syncer: one worker of the instance, by a lease in shared memory; when it dies or hangs, another.
local ffi = require("ffi")

local state = ngx.shared.edge_state

ffi.cdef([[
int kill(int pid, int signal);
]])

local _M = {}

local STEPS = 4
local seconds = 5

--- Each of the steps between two renewals may take `redis_timeout_ms`.
function _M.setup(redis_timeout_ms)
  seconds = 5 + STEPS * redis_timeout_ms / 1000
end

--- Whether this worker has it.
function _M.is_mine()
  return state:get("syncer") == ngx.worker.pid()
end

--- Take it if nobody has it, or its holder is no more.
function _M.acquire()
  local holder = state:get("syncer")
  if holder and holder ~= ngx.worker.pid() and ffi.C.kill(holder, 0) ~= 0 then
    state:delete("syncer")
  end
  return state:safe_add("syncer", ngx.worker.pid(), seconds) or _M.is_mine()
end

--- Keep it for longer; nil and a sentence when another worker has it by now.
function _M.renew()
  local holder = state:get("syncer")
  if holder and holder ~= ngx.worker.pid() then
    return nil, "another worker follows Redis by now"
  end
  return state:set("syncer", ngx.worker.pid(), seconds)
end

--- Give it back.
function _M.release()
  if _M.is_mine() then
    state:delete("syncer")
  end
end

return _M
