--- Bring one host from Redis into shared memory: once for all who wait, bounded in time, never in a storm.
local semaphore = require("ngx.semaphore")

local held = require("edge.held")
local published = require("edge.published")
local reading = require("edge.reading")

local state = ngx.shared.edge_state

local _M = {}

local LONGEST = 0.5
local LOOK_EVERY = 0.002
local FAILURE_KEPT = 1
local flights = {}

--- Read, judge and keep one host: the host and its index word; nil and why. What is older than what is held (Redis came
--- back on an old dump) replaces nothing.
local function fetch(hostname, deadline)
  local answers, err = reading.ask({ published.commands(hostname) }, deadline)
  if not answers then
    return nil, err
  end
  local good = held.get(hostname)
  local host, word, refused = published.judge(hostname, answers[1], answers[2], good)
  if not host then
    return nil, word
  end
  if good and good.asof > host.asof then
    published.release(host)
    return good, good.word
  end
  if refused and not host.leaf then
    return nil, refused
  end
  held.put(hostname, host)
  return host, word
end

--- One attempt more where a publish came between the two reads.
local function fetch_settled(hostname, deadline)
  local host, word = fetch(hostname, deadline)
  if not host and word == "record and certificate are of different publishes" then
    ngx.sleep(0.01)
    host, word = fetch(hostname, deadline)
  end
  return host, word
end

--- The host as shared memory has it, at revision `rev` or newer; nil otherwise.
local function held_since(hostname, rev)
  local host = held.get(hostname)
  return host and host.asof >= rev and host or nil
end

--- Ask Redis, for all workers; what cannot be had is not asked for again within a second.
local function load_first(hostname, rev, deadline)
  -- (1) even the first may come after somebody who has finished since it looked
  local host, word = held_since(hostname, rev), nil
  if not host then
    host, word = fetch_settled(hostname, deadline)
  end
  if not host or host.asof < rev then
    state:safe_set("bad|" .. hostname, host and "Redis has an older revision" or word, FAILURE_KEPT)
  end
  return host, word or host.word
end

--- Load unless another worker does: then wait for what it puts into shared memory, or for why it could not.
local function load(hostname, rev, deadline)
  repeat
    local failed = state:get("bad|" .. hostname)
    local host = held_since(hostname, rev)
    if failed or host then
      return host, host and host.word or failed
    end
    local is_first, err = state:safe_add("load|" .. hostname, true, LONGEST * 2)
    if is_first or err ~= "exists" then
      local word
      host, word = load_first(hostname, rev, deadline)
      state:delete("load|" .. hostname)
      return host, word
    end
    ngx.sleep(LOOK_EVERY)
  until ngx.now() >= deadline
  return nil, "still loading"
end

--- A timer's work, also in a worker that is about to end: handshakes under way still want it.
local function fly(_, flight, hostname)
  local ok, host, word = pcall(load, hostname, flight.rev, flight.deadline)
  if flights[hostname] == flight then
    flights[hostname] = nil
  end
  flight.host, flight.word = ok and host or nil, ok and word or tostring(host)
  flight.done:post(flight.waiting)
end

--- Begin to load a host. Not in the visitor's own coroutine, which ends with his connection.
local function take_off(hostname, rev)
  local deadline = ngx.now() + LONGEST
  local flight = { rev = rev, deadline = deadline, waiting = 0, done = semaphore.new() }
  local ok, err = ngx.timer.at(0, fly, flight, hostname)
  if ok then
    flights[hostname] = flight
  else
    flight.word = err
  end
  return flight
end

--- Load with one attempt per worker: those who come meanwhile, and want nothing newer, share its result.
local function load_shared(hostname, rev)
  local flight = flights[hostname]
  if not flight or flight.rev < rev or ngx.now() >= flight.deadline then
    flight = take_off(hostname, rev)
  end
  if not flight.word then
    flight.waiting = flight.waiting + 1
    flight.done:wait(math.max(0, flight.deadline - ngx.now()))
  end
  return flight.host, flight.word or "still loading"
end

--- The host at revision `rev` or newer, its index word, and whether shared memory or Redis had it; an older one with
--- `stale` when that cannot be had within half a second; nil and why when there is none. Yields only to ask Redis.
function _M.host(hostname, rev)
  local host = held_since(hostname, rev)
  if host then
    return host, host.word, "memory"
  end
  local loaded, word = load_shared(hostname, rev)
  if loaded and loaded.asof >= rev then
    return loaded, word, "redis"
  end
  host = loaded or held.get(hostname)
  if host then
    return host, host.word, "stale"
  end
  return nil, word
end

return _M
