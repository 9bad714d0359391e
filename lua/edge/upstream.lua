--- Who does not answer behind the edge, and why: one line a minute, since nginx's own would hold what a request said.
local journal = require("edge.journal")

local _M = {}

local TIMEOUT_MS = 1000

--- What becomes of a connection to `address` (`ip:port`, `[ip]:port` or `unix:/path`) now, in words.
local function try(address)
  local socket = ngx.socket.tcp()
  socket:settimeout(TIMEOUT_MS)
  local host, port = address:match("^(.+):(%d+)$")
  local ok, err
  if host then
    ok, err = socket:connect(host, tonumber(port))
  else
    ok, err = socket:connect(address)
  end
  if not ok then
    return err
  end
  socket:close()
  return "it takes connections, but no answer came in time, or none that is whole"
end

--- Tell the log that `who`, asked for this request, gave no answer.
function _M.silent(who)
  local address = (ngx.var.upstream_addr or ""):match("([^, ]+)$")
  if address and journal.is_due(who) then
    journal.write(ngx.ERR, who, " does not answer at ", address, ": ", try(address))
  end
end

return _M
