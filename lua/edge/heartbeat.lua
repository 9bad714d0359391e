--- The heartbeat: what this edge has applied, written at once after each change and every five seconds.
local semaphore = require("ngx.semaphore")

local journal = require("edge.journal")
local progress = require("edge.progress")
local redis = require("edge.redis")
local refusals = require("edge.refusals")
local sealing = require("edge.sealing")
local version = require("edge.version")

local state = ngx.shared.edge_state

local _M = {}

local EVERY = 5
local EXPIRES = 30
local target, timeout_ms, edge_id
local due
local instance, wrote = "", false

--- `redis_target` is the primary; `id` names this edge.
function _M.setup(redis_target, redis_timeout_ms, id)
  target, timeout_ms, edge_id = redis_target, redis_timeout_ms, id
end

--- Beat now.
function _M.nudge()
  if due and due:count() < 1 then
    due:post(1)
  end
end

--- Names and values of the heartbeat, flat.
local function fields()
  local last_sync = state:get("last_sync")
  local refused, refusing = refusals.told()
  return {
    "rev",
    string.format("%d", progress.get("applied") or 0),
    "epoch",
    progress.get("epoch") or "",
    "hosts",
    string.format("%d", progress.get("hosts") or 0),
    "certificates",
    string.format("%d", progress.get("certificates") or 0),
    "refused",
    refused,
    "refusing",
    string.format("%d", refusing),
    "kids",
    table.concat(sealing.kids, " "),
    "last_sync",
    last_sync and string.format("%.3f", last_sync) or "",
    "version",
    version,
    "instance",
    instance,
  }
end

--- Write it; who wrote the one before, or nil and the error.
local function write(red)
  sealing.refresh()
  local key = "vh:edge:" .. edge_id
  local answers, err = redis.pipeline(red, {
    { "hget", key, "instance" },
    { "hset", key, unpack(fields()) },
    { "expire", key, EXPIRES },
  })
  if not answers or type(answers[2]) == "table" then
    return nil, err or answers[2][2]
  end
  return redis.text(answers[1]) or ""
end

--- Whether another edge has written under our name since we did: both would pass for one.
local function notice_twin(writer)
  local is_twin = wrote and writer ~= "" and writer ~= instance
  state:set("twin", is_twin)
  local text = "another edge has it too; both pass for one"
  journal.change(ngx.ERR, "EDGE_ID " .. edge_id, is_twin and text or nil)
  wrote = true
end

local function beat_once()
  local red, err = redis.connect(target, timeout_ms)
  if not red then
    return nil, err
  end
  local writer
  writer, err = write(red)
  if not writer then
    red:close()
    return nil, err
  end
  redis.keep(red)
  notice_twin(writer)
  return true
end

--- The syncer's second thread: beat for as long as it lives.
function _M.beat()
  due, wrote = semaphore.new(1), false
  state:safe_add("instance", string.format("%d-%d", ngx.worker.pid(), ngx.now() * 1000))
  instance = state:get("instance") or ""
  while not ngx.worker.exiting() do
    due:wait(EVERY)
    local ok, err = beat_once()
    journal.change(ngx.WARN, "heartbeat", not ok and tostring(err) or nil)
  end
end

return _M
