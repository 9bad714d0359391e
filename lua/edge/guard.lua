--- An entry point whose mistakes are seen: nginx's own log of the front doors is open for alerts only.
local journal = require("edge.journal")
local metrics = require("edge.metrics")

local _M = {}

--- The same function, of one argument and two results at most; when it stumbles, that is counted and written down, and
--- it ends with `status` (a handshake with an alert).
function _M.watch(where, run, status)
  status = status or ngx.ERROR
  local stumbled = "edge_errors_total{where=\"" .. where .. "\"}"
  return function(argument)
    local ok, first, second = xpcall(run, debug.traceback, argument)
    if ok then
      return first, second
    end
    metrics.count(stumbled)
    journal.write(ngx.ERR, where, " stumbled: ", first)
    return ngx.exit(status)
  end
end

--- The same for all functions of a module that answer requests.
function _M.watch_answers(where, module, names)
  for _, name in ipairs(names) do
    module[name] = _M.watch(where, module[name], 500)
  end
end

return _M
