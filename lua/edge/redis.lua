--- Connections to Redis: address, authentication, database, Sentinel; the only Lua that opens one.
local available, client = pcall(require, "resty.redis")
if not available then
  client = require("nginx.redis") -- Debian's name for the same library
end

local unescape = ngx.unescape_uri

local _M = { null = ngx.null }

local POOL_IDLE_MS = 60000
local POOL_SIZE = 16
local SENTINEL_PORT = 26379

local function endpoint(text, default_port)
  local host, port = text:match("^%[(.-)%]:?(%d*)$")
  if not host then
    host, port = text:match("^([^:]*):?(%d*)$")
  end
  if not host then
    return nil
  end
  host = (host == "" or host == "localhost") and "127.0.0.1" or host
  return { host = host, port = tonumber(port) or default_port }
end

local function credentials(target, text)
  local user, password = text:match("^([^:]*):(.*)$")
  if password and password ~= "" then
    target.user = user ~= "" and unescape(user) or nil
    target.password = unescape(password)
  end
end

local function parse_unix(rest)
  local path, query = rest:match("^([^?]+)%??(.*)$")
  local target = { socket = path, database = 0 }
  for name, value in query:gmatch("([^&=]+)=([^&]*)") do
    if name == "db" then
      target.database = tonumber(value)
    elseif name == "username" then
      target.user = unescape(value)
    elseif name == "password" then
      target.password = unescape(value)
    end
  end
  return target.database and path:sub(1, 1) == "/" and target or nil
end

local function parse_sentinel(target, hosts, path)
  local service, database = path:match("^([^/]+)/?(%d*)$")
  if not service then
    return nil
  end
  target.service, target.database, target.sentinels = service, tonumber(database) or 0, {}
  for item in hosts:gmatch("[^,]+") do
    target.sentinels[#target.sentinels + 1] = endpoint(item, SENTINEL_PORT)
  end
  return #target.sentinels > 0 and target or nil
end

local function parse_network(scheme, rest)
  local authority, path = rest:match("^([^/?]+)/?([^?]*)")
  if not authority then
    return nil
  end
  local target = {}
  local secret, hosts = authority:match("^(.*)@([^@]*)$")
  if secret then
    credentials(target, secret)
  end
  if scheme == "redis+sentinel" then
    return parse_sentinel(target, hosts or authority, path)
  end
  local address = endpoint(hosts or authority, 6379)
  target.host, target.port = address and address.host, address and address.port
  target.database = path == "" and 0 or tonumber(path)
  return target.host and target.database and target or nil
end

--- Turn a URL into a target for `connect`; nil and a sentence when it is none of the kinds we open.
function _M.parse(url)
  local scheme, rest = url:match("^([a-z+]+)://(.*)$")
  local target
  if scheme == "unix" then
    target = parse_unix(rest)
  elseif scheme == "redis" or scheme == "redis+sentinel" then
    target = parse_network(scheme, rest)
  elseif scheme == "rediss" then
    return nil, "cannot be rediss://: this Redis client has no TLS; put stunnel in front"
  end
  if not target then
    return nil,
      "must be redis://[user:password@]host:port/db, unix:///path or "
        .. "redis+sentinel://h1:p,h2:p/service/db"
  end
  return target
end

local function authenticate(red, target)
  if target.password then
    local ok, err
    if target.user then
      ok, err = red:auth(target.user, target.password)
    else
      ok, err = red:auth(target.password)
    end
    if not ok then
      return nil, "AUTH: " .. tostring(err)
    end
  end
  if target.database ~= 0 then
    local ok, err = red:select(target.database)
    if not ok then
      return nil, "SELECT: " .. tostring(err)
    end
  end
  return true
end

--- Milliseconds until `deadline`, at least one.
local function left(deadline)
  return math.max(1, (deadline - ngx.now()) * 1000)
end

local function open(target, where, timeout_ms, pool)
  local deadline = ngx.now() + timeout_ms / 1000
  local red, err = client:new()
  if not red then
    return nil, err
  end
  red:set_timeout(timeout_ms)
  local ok
  if where.socket then
    ok, err = red:connect("unix:" .. where.socket, { pool = pool })
  else
    ok, err = red:connect(where.host, where.port, { pool = pool })
  end
  if not ok then
    return nil, "connect: " .. tostring(err)
  end
  if red:get_reused_times() == 0 then
    red:set_timeout(left(deadline))
    ok, err = authenticate(red, target)
    if not ok then
      red:close()
      return nil, err
    end
  end
  return red
end

local function ask_sentinel(sentinel, target, timeout_ms)
  local red, err = open({ database = 0 }, sentinel, timeout_ms, "sentinel")
  if not red then
    return nil, err
  end
  local answer = red:sentinel("get-master-addr-by-name", target.service)
  red:close()
  if type(answer) ~= "table" or not answer[2] then
    return nil, "sentinel knows no " .. target.service
  end
  return { host = answer[1], port = tonumber(answer[2]) }
end

--- The address of the master, from the first sentinel that knows it; that one is asked first next time, who does
--- not is asked last. Each has half of the time that is left.
local function locate(target, deadline)
  local last
  for _ = 1, #target.sentinels do
    local sentinel = target.sentinels[1]
    local where, err = ask_sentinel(sentinel, target, left(deadline) / 2)
    if where then
      return where
    end
    table.insert(target.sentinels, table.remove(target.sentinels, 1))
    last = err
  end
  return nil, "sentinels: " .. tostring(last)
end

--- A ready client, or nil and why not. `timeout_ms` bounds finding and connecting together, and then each answer.
function _M.connect(target, timeout_ms)
  local deadline, where, pool = ngx.now() + timeout_ms / 1000, target, target.pool
  if target.sentinels then
    local err
    where, err = locate(target, deadline)
    if not where then
      return nil, err
    end
    local user = target.user or ""
    pool = table.concat({ where.host, where.port, target.database, user }, ":")
  end
  local red, err = open(target, where, left(deadline), pool)
  if red then
    red:set_timeout(timeout_ms)
  end
  return red, err
end

--- Give a client back for reuse after success; after any error, `close` it instead.
function _M.keep(red)
  red:set_keepalive(POOL_IDLE_MS, POOL_SIZE)
end

--- Run `commands` ({name, args…} each) in one round trip: a list of answers, or nil and the error.
--- An answer that is an error of Redis stands in the list as {false, text}.
function _M.pipeline(red, commands)
  red:init_pipeline(#commands)
  for _, command in ipairs(commands) do
    red[command[1]](red, unpack(command, 2))
  end
  return red:commit_pipeline()
end

--- Connect, run `commands` in one round trip, give the connection back: all within `timeout_ms`.
function _M.once(target, timeout_ms, commands)
  local deadline = ngx.now() + timeout_ms / 1000
  local red, err = _M.connect(target, timeout_ms)
  if not red then
    return nil, err
  end
  red:set_timeout(left(deadline))
  local answers
  answers, err = _M.pipeline(red, commands)
  if not answers then
    red:close()
    return nil, err
  end
  _M.keep(red)
  return answers
end

--- A string answer, or nil for null, an error, or anything else.
function _M.text(answer)
  return type(answer) == "string" and answer or nil
end

return _M
