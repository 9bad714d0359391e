--- Bring one host from Redis into shared memory: once for all who wait, bounded in time, never in a storm.
local semaphore = require("ngx.semaphore")

local held = require("edge.held")
local journal = require("edge.journal")
local metrics = require("edge.metrics")
local published = require("edge.published")
local redis = require("edge.redis")

local state = ngx.shared.edge_state

local _M = {}

local LONGEST_WAIT = 0.5
local FAILURE_KEPT = 1
local OPEN_AFTER = 3
local OPEN_FOR = 0.5
local target, timeout_ms
local under_way = {}
local failures, closed_until = 0, 0

--- `redis_target` is what certificates are read from.
function _M.setup(redis_target, redis_timeout_ms)
  target, timeout_ms = redis_target, math.min(redis_timeout_ms, 450)
end

--- Ask Redis unless it failed three times in a row a moment ago.
local function ask(hostname)
  if ngx.now() < closed_until then
    return nil, "redis is away"
  end
  local answers, err = redis.once(target, timeout_ms, { published.commands(hostname) })
  if answers then
    failures = 0
    return answers
  end
  metrics.count("edge_redis_errors_total")
  failures = failures + 1
  if failures >= OPEN_AFTER then
    closed_until = ngx.now() + OPEN_FOR * (1 + math.random())
  end
  return nil, err
end

local function keep(hostname, host)
  local ok, err = held.put(hostname, host)
  if not ok then
    metrics.count("edge_memory_full_total")
    journal.change(ngx.ERR, "shared memory for certificates", tostring(err))
  end
end

--- Read, judge and keep one host: the host and its index word; nil and why.
local function fetch(hostname)
  local answers, err = ask(hostname)
  if not answers then
    return nil, err
  end
  local host, word, refused = published.judge(hostname, answers[1], answers[2], held.get(hostname))
  if not host then
    return nil, word
  end
  if refused and not host.leaf then
    return nil, refused
  end
  keep(hostname, host)
  return host, word
end

--- One attempt more where a publish came between the two reads.
local function fetch_settled(hostname)
  local host, word = fetch(hostname)
  if not host and word == "record and certificate are of different publishes" then
    ngx.sleep(0.01)
    host, word = fetch(hostname)
  end
  return host, word
end

--- The host as shared memory has it, at revision `rev` or newer; nil otherwise.
local function held_since(hostname, rev)
  local host = held.get(hostname)
  return host and host.asof >= rev and host or nil
end

--- Another worker is loading this host: wait for what it puts into shared memory.
local function wait_for_other(hostname, rev)
  local deadline = ngx.now() + LONGEST_WAIT
  while ngx.now() < deadline and state:get("load|" .. hostname) do
    ngx.sleep(0.002)
  end
  return held_since(hostname, rev)
end

local function load_alone(hostname, rev)
  local failed = state:get("bad|" .. hostname)
  if failed then
    return nil, failed
  end
  local is_first = state:safe_add("load|" .. hostname, true, LONGEST_WAIT * 2)
  -- (1) even the first may come after somebody who has finished since it looked
  local host = (is_first and held_since or wait_for_other)(hostname, rev)
  if host and not is_first then
    return host
  end
  local word
  if not host then
    host, word = fetch_settled(hostname)
  end
  state:delete("load|" .. hostname)
  if not host then
    state:safe_set("bad|" .. hostname, word, FAILURE_KEPT)
  end
  return host, word
end

--- Load with one attempt per worker: those who come meanwhile share its result.
local function load_shared(hostname, rev)
  local flight = under_way[hostname]
  if flight then
    flight.waiting = flight.waiting + 1
    flight.done:wait(LONGEST_WAIT)
    return flight.host, flight.word or "still loading"
  end
  flight = { done = semaphore.new(), waiting = 0 }
  under_way[hostname] = flight
  local ok, host, word = pcall(load_alone, hostname, rev)
  under_way[hostname] = nil
  if ok then
    flight.host, flight.word = host, word
  else
    flight.word = tostring(host)
  end
  flight.done:post(flight.waiting + 1)
  return flight.host, flight.word
end

--- The host at revision `rev` or newer, its index word, and whether shared memory, Redis or an older look had it;
--- nil and why when neither has it. Yields only when Redis is asked.
function _M.host(hostname, rev)
  local host = held.get(hostname)
  if host and host.asof >= rev then
    return host, host.word, "memory"
  end
  local loaded, word = load_shared(hostname, rev)
  if loaded then
    return loaded, word, "redis"
  end
  if host then
    return host, nil, "stale"
  end
  return nil, word
end

return _M
