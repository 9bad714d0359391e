--- Log lines of lua/edge: at most so many a second, the rest counted; a hostname can be watched closely.
local metrics = require("edge.metrics")

local state = ngx.shared.edge_state

local _M = { watched = {}, watching = false }

local most_lines = 50
local waiting = {}
local said = {}
local due = {}
local SELDOM = 60

--- `lines_per_second` bounds what one worker writes.
function _M.setup(lines_per_second)
  most_lines = lines_per_second
end

--- Put down one line unless this second's share is used up; whether it was. It is written by the worker's timer: the
--- log of a handshake is open for alerts only.
function _M.write(level, ...)
  if #waiting >= most_lines then
    metrics.count("edge_log_lines_dropped_total")
    return false
  end
  waiting[#waiting + 1] = { level, table.concat({ ... }) }
  return true
end

--- Write what was put down since the last second.
function _M.flush()
  local lines = waiting
  waiting = {}
  for _, line in ipairs(lines) do
    ngx.log(line[1], "edge: ", line[2])
  end
end

--- Write a line only when what `topic` has to say differs from last time; nil says it is over. What the cap left out is
--- said when it comes again.
function _M.change(level, topic, text)
  if said[topic] ~= text and _M.write(level, topic, ": ", text or "well again") then
    said[topic] = text
  end
end

--- Whether a minute has passed since this was last true for `topic`: for lines about what goes on and on.
function _M.is_due(topic)
  local now = ngx.now()
  if now < (due[topic] or 0) then
    return false
  end
  due[topic] = now + SELDOM
  return true
end

--- What happened to one host: nothing, or at notice while an operator watches that hostname. What happens all the
--- time asks `watching` first: whether any hostname is watched.
function _M.about(hostname, ...)
  if _M.watched[hostname] then
    _M.write(ngx.NOTICE, "watched ", hostname, ": ", ...)
  end
end

--- Watch `hostname` in every worker for `seconds`, without a reload; 0 ends it.
function _M.watch(hostname, seconds)
  if seconds > 0 then
    state:set("watch|" .. hostname, true, seconds)
  else
    state:delete("watch|" .. hostname)
  end
  state:incr("watchers", 1, 0)
end

--- Learn which hostnames are watched now; each worker asks once a second.
function _M.refresh()
  if not state:get("watchers") then
    return
  end
  local found = {}
  for _, key in ipairs(state:get_keys(0)) do
    local hostname = key:match("^watch|(.*)$")
    if hostname then
      found[hostname] = true
    end
  end
  _M.watched, _M.watching = found, next(found) ~= nil
end

return _M
