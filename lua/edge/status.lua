--- The status listener: health, metrics, and what this edge knows of one hostname; never a key.
local cjson = require("cjson.safe")

local held = require("edge.held")
local hosts = require("edge.hosts")
local index = require("edge.index")
local journal = require("edge.journal")
local metrics = require("edge.metrics")
local progress = require("edge.progress")
local sweep = require("edge.sweep")

local state = ngx.shared.edge_state
local _M = {}

local LONGEST_WATCH = 86400

local function answer(body)
  local text = cjson.encode(body) .. "\n"
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #text
  ngx.print(text)
end

local function sync_age()
  local last = state:get("last_sync")
  return last and ngx.now() - last or -1
end

--- Alive, and how far along, which worker answers and which one follows Redis: 200 whenever a worker can answer.
function _M.health()
  return answer({
    status = "ok",
    index = hosts.complete() and "complete" or "incomplete",
    applied = progress.get("applied") or 0,
    epoch = progress.get("epoch"),
    alarm = state:get("alarm"),
    sync_age_seconds = sync_age(),
    worker = ngx.worker.pid(),
    syncer = state:get("syncer"),
  })
end

local function is_refused(name)
  return (" " .. (state:get("refused") or "") .. " "):find(" " .. name .. " ", 1, true) ~= nil
end

--- Everything of docs/metrics.md in Prometheus' text format.
function _M.metrics()
  local first = sweep.first_end()
  local gauges = {
    edge_sync_age_seconds = sync_age(),
    edge_applied_revision = string.format("%d", progress.get("applied") or 0),
    edge_hosts = progress.get("hosts") or 0,
    edge_certificates_cached = progress.get("certificates") or 0,
    edge_min_not_after_seconds = first < math.huge and string.format("%d", first) or nil,
    edge_id_shared = state:get("twin") and 1 or 0,
    edge_expired_served = state:get("expired_served") or 0,
    edge_refused_publishes = state:get("refusing") or 0,
    edge_index_complete = hosts.complete() and 1 or 0,
    edge_index_spilled_hosts = index.spilled(),
  }
  for _, name in ipairs({ "empty", "unreadable", "rewound", "rebuilding", "emptied" }) do
    gauges["edge_alarm{reason=\"" .. name .. "\"}"] = state:get("alarm") == name and 1 or 0
  end
  for _, name in ipairs({ "edge_index", "edge_held", "edge_state" }) do
    gauges["edge_memory_free_bytes{zone=\"" .. name .. "\"}"] = ngx.shared[name]:free_space()
  end
  ngx.header["Content-Type"] = "text/plain; version=0.0.4"
  ngx.print(metrics.text(gauges))
end

local function watch(name)
  local asked = tonumber(ngx.var.arg_seconds) or 600
  local seconds = math.floor(math.min(asked, LONGEST_WATCH)) -- (1) shared memory keeps a part of a millisecond for good
  journal.watch(name, seconds)
  return answer({ hostname = name, watched_seconds = seconds })
end

local function report(entry)
  local host = held.get(entry.name) or {}
  local pair = entry.pair or entry.last_pair
  local name, generation = hosts.describe(entry)
  return {
    hostname = entry.name,
    state = name,
    rev = entry.rev,
    generation = generation,
    sha256 = host.sha256 ~= "" and host.sha256 or pair and pair.sha256 or nil,
    not_after = host.not_after,
    kind = host.kind,
    domains = host.domains,
    held_at_revision = host.asof,
    refused = is_refused(entry.name),
    cached = { shared_memory = host.asof ~= nil, this_worker = pair ~= nil },
  }
end

--- GET /hosts/<hostname>: the report, 404 when unknown. POST …?seconds=600 logs this host's doings meanwhile.
function _M.host()
  local name = ngx.var.uri:match("^/hosts/(.+)$")
  local entry = name and hosts.find(name)
  if not entry then
    ngx.status = 404
    return answer({
      hostname = name,
      state = "unknown",
      index_complete = hosts.complete(),
      refused = name ~= nil and is_refused(name),
    })
  end
  if ngx.req.get_method() == "POST" then
    return watch(entry.name)
  end
  return answer(report(entry))
end

return _M
