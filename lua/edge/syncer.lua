--- The syncer at work: whoever has the lease follows Redis on two connections, and connects again when one fails.
local heartbeat = require("edge.heartbeat")
local journal = require("edge.journal")
local lease = require("edge.lease")
local metrics = require("edge.metrics")
local progress = require("edge.progress")
local redis = require("edge.redis")
local refusals = require("edge.refusals")
local replica = require("edge.replica")
local sweep = require("edge.sweep")

local exiting = ngx.worker.exiting

local _M = {}

local POLL_MS = 1000
local STAY = 300
local CANDIDATE_EVERY = 0.25
local SLOWEST_RETRY = 1
local target, timeout_ms

local function subscribe()
  local red, err = redis.connect(target, timeout_ms)
  if not red then
    return nil, err
  end
  local ok
  ok, err = red:subscribe("vh:changed")
  if not ok then
    red:close()
    return nil, err
  end
  red:set_timeout(POLL_MS)
  return red
end

--- Whether a message tells of a revision that was applied with an earlier one.
local function is_old(message)
  local revision = type(message) == "table" and tonumber(message[3])
  return revision ~= nil and revision <= (progress.get("applied") or 0)
end

--- Wait for news or the next poll: whether there is news; nil and the error when the connection is gone.
local function wait(subscriber)
  local next_poll = ngx.now() + POLL_MS / 1000
  repeat
    local message, err = subscriber:read_reply()
    if not message and err ~= "timeout" then
      return nil, err
    end
    if not message or not is_old(message) then
      return message ~= nil
    end
  until ngx.now() >= next_poll
  return false
end

--- Follow on two connections until one fails, the worker ends, the lease is lost, or `until_time`.
local function converse(reader, subscriber, until_time)
  local has_news = false
  while not exiting() and lease.is_mine() and ngx.now() < until_time do
    lease.renew()
    local ok, err = replica.sync(reader, has_news)
    if not ok then
      return nil, err
    end
    journal.change(ngx.NOTICE, "redis", "connected")
    has_news, err = wait(subscriber)
    if has_news == nil then
      return nil, err
    end
  end
  return true
end

local function connect_and_converse(until_time)
  local subscriber, err = subscribe()
  if not subscriber then
    return nil, err
  end
  local reader, ok
  reader, err = redis.connect(target, timeout_ms)
  if reader then
    ok, err = converse(reader, subscriber, until_time)
    reader:close()
  end
  subscriber:close()
  return ok, err
end

--- Follow for a while; reconnect with jitter, and keep the lease meanwhile.
local function follow()
  refusals.recall()
  local until_time = ngx.now() + STAY
  local pause = 0.05
  while not exiting() and lease.is_mine() and ngx.now() < until_time do
    local began = ngx.now()
    local ok, err = connect_and_converse(until_time)
    if not ok then
      metrics.count("edge_redis_errors_total")
      journal.change(ngx.ERR, "redis", tostring(err))
      pause = ngx.now() - began > 2 and 0.05 or math.min(pause * 2, SLOWEST_RETRY)
      lease.renew()
      ngx.sleep(pause * (0.5 + math.random()))
    end
  end
end

--- Be the syncer for a while, with what goes on beside.
local function serve()
  local beating, sweeping = ngx.thread.spawn(heartbeat.beat), ngx.thread.spawn(sweep.run)
  local ok, err = pcall(follow)
  if not ok then
    journal.write(ngx.ERR, "the syncer stumbled: ", tostring(err))
  end
  ngx.thread.kill(beating)
  ngx.thread.kill(sweeping)
end

--- Each worker's timer: stand by, and serve when the lease is free.
local function run(premature)
  if premature then
    return
  end
  if lease.acquire() then
    serve()
    if exiting() then
      lease.release()
    end
  end
  if not exiting() then
    ngx.timer.at(CANDIDATE_EVERY, run)
  end
end

--- Start standing by in this worker.
function _M.start(redis_target, redis_timeout_ms)
  target, timeout_ms = redis_target, redis_timeout_ms
  lease.setup(redis_timeout_ms)
  ngx.timer.at(0, run)
end

return _M
