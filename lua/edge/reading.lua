--- Reads that a visitor waits for: bounded in time, and not tried when Redis has just failed three times in a row.
local metrics = require("edge.metrics")
local redis = require("edge.redis")

local _M = {}

local OPEN_AFTER = 3
local OPEN_FOR = 0.5
local LONGEST_MS = 450
local target, timeout_ms
local failures, closed_until = 0, 0

--- `redis_target` is what is read from.
function _M.setup(redis_target, redis_timeout_ms)
  target, timeout_ms = redis_target, math.min(redis_timeout_ms, LONGEST_MS)
end

local function failed()
  metrics.count("edge_redis_errors_total")
  failures = failures + 1
  if failures >= OPEN_AFTER then
    closed_until = ngx.now() + OPEN_FOR * (1 + math.random())
  end
end

--- Run `commands` in one round trip, before `deadline` (nil: as long as settings allow): answers, or nil and why.
function _M.ask(commands, deadline)
  if ngx.now() < closed_until then
    return nil, "redis is away"
  end
  local left = deadline and (deadline - ngx.now()) * 1000 or timeout_ms
  local answers, err = redis.once(target, math.max(1, math.min(timeout_ms, left)), commands)
  if not answers then
    failed()
    return nil, err
  end
  failures = 0
  return answers
end

return _M
