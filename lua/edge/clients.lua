--- How many handshakes one client may begin: an IPv4 address, or the /64 of an IPv6 one, which is one customer's.
local count = ngx.shared.edge_clients

local _M = {}

local WINDOW = 10
local NO_NETWORK = string.rep("\0", 8) -- (1) ::1, and IPv4 written as IPv6
local most

--- `per_second` on average, all of ten seconds' worth at once if need be; nil means no limit.
function _M.setup(per_second)
  most = per_second and per_second * WINDOW
end

--- Whether anybody is limited.
function _M.are_limited()
  return most ~= nil
end

--- Count one handshake of a raw address (4 or 16 bytes); whether it is one too many.
function _M.exceeds(address)
  local key = address
  if #address > 4 then
    local network = address:sub(1, 8)
    key = network ~= NO_NETWORK and network or address
  end
  local number = count:incr(key, 1, 0, WINDOW)
  return number ~= nil and number > most
end

return _M
