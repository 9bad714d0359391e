--- Connections to Redis: TLS, authentication, database, Sentinel; the only Lua that opens one.
local available, client = pcall(require, "resty.redis")
if not available then
  client = require("nginx.redis") -- Debian's name for the same library
end

local _M = { null = ngx.null }

local POOL_IDLE_MS = 60000
local POOL_SIZE = 16

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

--- Speak TLS on a fresh connection. nginx's own socket does; both client libraries keep it under this name.
local function encrypt(red, target)
  local socket = rawget(red, "_sock")
  if not socket then
    return nil, "TLS: this Redis client has none"
  end
  local ok, err = socket:sslhandshake(false, target.name, true)
  if not ok then
    return nil, "TLS: " .. tostring(err)
  end
  return true
end

--- What a connection needs before its first command.
local function begin(red, target)
  if target.tls then
    local ok, err = encrypt(red, target)
    if not ok then
      return nil, err
    end
  end
  return authenticate(red, target)
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
    ok, err = begin(red, target)
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
  local host = answer[1]:find(":", 1, true) and "[" .. answer[1] .. "]" or answer[1]
  return { host = host, port = tonumber(answer[2]) }
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
    if target.sentinels[1] == sentinel then -- (1) else who asked at the same time has put it behind
      table.insert(target.sentinels, table.remove(target.sentinels, 1))
    end
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
