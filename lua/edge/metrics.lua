--- Counters and gauges in Prometheus' text format; counted per worker, summed in shared memory once a second.
local state = ngx.shared.edge_state

local _M = {}

local counted = {}

-- name, type, what it counts, and the labels under which a counter that has not counted yet shows its 0
local ABOUT = {
  { "edge_handshakes_total", "counter", "TLS handshakes by result", "{result=\"served\"}" },
  {
    "edge_requests_total",
    "counter",
    "requests on port 443 by verdict of the gate",
    "{result=\"ok\"}",
  },
  {
    "edge_challenges_total",
    "counter",
    "ACME challenges asked for on port 80, by result",
    "{result=\"answered\"}",
  },
  {
    "edge_certificate_loads_total",
    "counter",
    "certificates parsed, by where they came from",
    "{source=\"redis\"}",
  },
  { "edge_redis_errors_total", "counter", "failed conversations with Redis" },
  { "edge_syncs_total", "counter", "looks at the revision feed" },
  { "edge_log_lines_dropped_total", "counter", "log lines left out by the cap" },
  {
    "edge_errors_total",
    "counter",
    "mistakes of lua/edge in a handshake; see the log",
    "{where=\"client_hello\"}",
  },
  { "edge_memory_full_total", "counter", "values that did not fit into shared memory" },
  { "edge_sync_age_seconds", "gauge", "since the feed was last read without an error" },
  { "edge_applied_revision", "gauge", "the last revision this edge has applied" },
  { "edge_hosts", "gauge", "hostnames in the index, tombstones apart" },
  { "edge_certificates_cached", "gauge", "hosts held in shared memory with their certificate" },
  {
    "edge_min_not_after_seconds",
    "gauge",
    "unix time at which the first certificate ends that is held for a live host or published",
  },
  { "edge_id_shared", "gauge", "1 while another edge sends heartbeats under this one's EDGE_ID" },
  { "edge_expired_served", "gauge", "live hosts held with a certificate that has ended" },
  { "edge_refused_publishes", "gauge", "hosts whose published value is refused now" },
  { "edge_index_complete", "gauge", "whether the whole index has been read since the start" },
  {
    "edge_index_spilled_hosts",
    "gauge",
    "hostnames that found no room in the index: raise EDGE_INDEX_MEMORY",
  },
  { "edge_alarm", "gauge", "1 while Redis says something that is not believed" },
  { "edge_memory_free_bytes", "gauge", "free pages of shared memory" },
}

--- Add one to a counter; `name` carries its labels, e.g. `edge_requests_total{result="ok"}`.
function _M.count(name)
  counted[name] = (counted[name] or 0) + 1
end

--- Move this worker's counts into shared memory.
function _M.flush()
  for name, number in pairs(counted) do
    state:incr("m|" .. name, number, 0)
    counted[name] = nil
  end
end

local function samples()
  local found = {}
  for _, key in ipairs(state:get_keys(0)) do
    local name = key:match("^m|(.*)$")
    if name then
      local family = name:match("^[^{]+")
      found[family] = found[family] or {}
      table.insert(found[family], name .. " " .. (state:get(key) or 0))
    end
  end
  return found
end

--- The whole text; `gauges` maps a name (with labels) to its value.
function _M.text(gauges)
  _M.flush()
  local found = samples()
  for name, value in pairs(gauges) do
    local family = name:match("^[^{]+")
    found[family] = found[family] or {}
    table.insert(found[family], name .. " " .. value)
  end
  local out = {}
  for _, about in ipairs(ABOUT) do
    local name, kind, help, first = unpack(about)
    out[#out + 1] = "# HELP " .. name .. " " .. help
    out[#out + 1] = "# TYPE " .. name .. " " .. kind
    local lines = found[name] or (kind == "counter" and { name .. (first or "") .. " 0" }) or {}
    table.sort(lines)
    out[#out + 1] = #lines > 0 and table.concat(lines, "\n") or nil
  end
  return table.concat(out, "\n") .. "\n"
end

return _M
