--- An entry point of the handshake whose mistakes are seen: nginx's own log of the front doors is open for alerts only.
local journal = require("edge.journal")
local metrics = require("edge.metrics")

local _M = {}

--- The same function; when it stumbles, that is counted and written down, and the handshake ends.
function _M.watch(where, run)
  local stumbled = "edge_errors_total{where=\"" .. where .. "\"}"
  return function()
    local ok, err = xpcall(run, debug.traceback)
    if not ok then
      metrics.count(stumbled)
      journal.write(ngx.ERR, where, " stumbled: ", err)
      return ngx.exit(ngx.ERROR)
    end
  end
end

return _M
