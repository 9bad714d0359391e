--- parse(url): what an operator writes for a Redis, as a target for edge.redis; a fault instead of a guess.
local unescape = ngx.unescape_uri

local _M = {}

local REDIS_PORT, SENTINEL_PORT = 6379, 26379
local KINDS = "must be redis://[[user]:password@]host:port/db (rediss:// with TLS), "
  .. "unix:///path[?db=1&username=u&password=p] or "
  .. "redis+sentinel://[[user]:password@]h1:p,h2:p/service/db; "
  .. "IPv6 in brackets, a port of at most 65535"

--- {host, port, name}: `host` as a cosocket wants it (IPv6 in brackets), `name` as it was written; nil when it is none.
local function endpoint(text, default_port)
  local name, rest = text:match("^(%[[%x:.]+%])(.*)$")
  if not name then
    name, rest = text:match("^([^:%[%]]*)(.*)$")
  end
  local port = name and (rest == "" and default_port or tonumber(rest:match("^:(%d+)$")))
  if not port or port < 1 or port > 65535 then
    return nil
  end
  local is_here = name == "" or name == "localhost"
  return { host = is_here and "127.0.0.1" or name, port = port, name = name }
end

--- `user:password` or `:password` into the target; false when it is neither.
local function credentials(target, text)
  local user, password = text:match("^([^:]*):(.+)$")
  if not password then
    return false
  end
  target.user = user ~= "" and unescape(user) or nil
  target.password = unescape(password)
  return true
end

local UNIX_NAMES = { db = true, username = true, password = true }

local function parse_unix(rest)
  local path, query = rest:match("^(/[^?]*)%??(.*)$")
  local given = {}
  for pair in query and query:gmatch("[^&]+") or function() end do
    local name, value = pair:match("^([^=]+)=(.+)$")
    if not UNIX_NAMES[name] then
      return nil
    end
    given[name] = unescape(value)
  end
  local database = tonumber(given.db or "0")
  if not path or not database or (given.username and not given.password) then
    return nil
  end
  local user, password = given.username, given.password
  return { socket = path, database = database, user = user, password = password }
end

local function parse_sentinel(target, hosts, path)
  local service, database = path:match("^([^/]+)/?(%d*)$")
  if not service then
    return nil
  end
  target.service, target.database, target.sentinels = service, tonumber(database) or 0, {}
  for item in hosts:gmatch("[^,]+") do
    local sentinel = endpoint(item, SENTINEL_PORT)
    if not sentinel then
      return nil
    end
    target.sentinels[#target.sentinels + 1] = sentinel
  end
  return #target.sentinels > 0 and target or nil
end

local function parse_network(scheme, rest)
  local authority, path = rest:match("^([^/?]+)/?([^?]*)$")
  if not authority then
    return nil
  end
  local target = { tls = scheme == "rediss" }
  local secret, hosts = authority:match("^(.*)@([^@]*)$")
  if secret and not credentials(target, secret) then
    return nil
  end
  if scheme == "redis+sentinel" then
    return parse_sentinel(target, hosts or authority, path)
  end
  local address = endpoint(hosts or authority, REDIS_PORT)
  target.database = path == "" and 0 or tonumber(path:match("^%d+$"))
  if not address or not target.database then
    return nil
  end
  target.host, target.port, target.name = address.host, address.port, address.name
  return target
end

local NETWORK = { redis = true, rediss = true, ["redis+sentinel"] = true }

--- {host, port, name, tls} or {socket} or {service, sentinels}, with user, password, database; nil and a sentence.
function _M.parse(url)
  local scheme, rest = url:match("^([a-z+]+)://(.*)$")
  local target
  if scheme == "unix" then
    target = parse_unix(rest)
  elseif NETWORK[scheme] then
    target = parse_network(scheme, rest)
  end
  if not target then
    return nil, KINDS
  end
  return target
end

return _M
