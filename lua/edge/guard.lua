--- An entry point whose mistakes are seen: nginx's own log of the front doors is open for alerts only.
local journal = require("edge.journal")
local metrics = require("edge.metrics")

local _M = {}

--- The same function; when it stumbles, that is counted and written down, and it ends with `status` (a handshake with
--- an alert).
function _M.watch(where, run, status)
  status = status or ngx.ERROR
  local stumbled = "edge_errors_total{where=\"" .. where .. "\"}"
  return function()
    local ok, err = xpcall(run, debug.traceback)
    if not ok then
      metrics.count(stumbled)
      journal.write(ngx.ERR, where, " stumbled: ", err)
      return ngx.exit(status)
    end
  end
end

--- The same for all functions of a module that answer requests.
function _M.watch_answers(where, module, names)
  for _, name in ipairs(names) do
    module[name] = _M.watch(where, module[name], 500)
  end
end

return _M
