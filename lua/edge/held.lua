--- What shared memory holds of one host: its record and certificate, packed into one string.
local journal = require("edge.journal")
local metrics = require("edge.metrics")
local progress = require("edge.progress")

local held = ngx.shared.edge_held
local state = ngx.shared.edge_state

local _M = {}

local FULL_FOR = 60

local FIELDS =
  { "asof", "kind", "hsts", "sha256", "not_after", "kid", "spki", "key_size", "links", "word" }

--- Pack: one line of fields, one of domains, one of theme JSON, then sealed key and leaf in DER.
--- `asof` is the host's revision that this is at least as new as, `word` its word of the index then; `links` are the
--- ids of intermediates.
local function pack(host)
  local line = {}
  for position, name in ipairs(FIELDS) do
    local value = tostring(host[name] or "")
    line[position] = value == "" and "-" or value
  end
  return table.concat({
    table.concat(line, " "),
    host.domains,
    host.theme,
    (host.sealed or "") .. (host.leaf or ""),
  }, "\n")
end

local function unpack_line(line)
  local host, position = {}, 1
  for value in line:gmatch("%S+") do
    host[FIELDS[position]] = value ~= "-" and value or ""
    position = position + 1
  end
  return host
end

--- The table that `pack` was given, numbers as numbers.
local function unpack_host(packed)
  local line, domains, theme, rest = packed:match("^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$")
  local host = unpack_line(line)
  host.domains, host.theme = domains, theme
  host.asof, host.not_after = tonumber(host.asof), tonumber(host.not_after)
  local size = tonumber(host.key_size) or 0
  host.key_size = size
  if size > 0 then
    host.sealed, host.leaf = rest:sub(1, size), rest:sub(size + 1)
  end
  return host
end

--- The host as shared memory has it, or nil.
function _M.get(hostname)
  local packed = held:get(hostname)
  return packed and unpack_host(packed)
end

--- The same without key, leaf, domains and theme, which is cheaper.
function _M.summary(hostname)
  local packed = held:get(hostname)
  return packed and unpack_line(packed:match("^[^\n]*"))
end

local function has_certificate(hostname)
  local host = _M.summary(hostname)
  return host ~= nil and host.sha256 ~= ""
end

local function put_intermediates(host)
  for id, der in pairs(host.intermediates or {}) do
    if not held:get("i|" .. id) then
      local ok, err = held:safe_set("i|" .. id, der)
      if not ok then
        return false, err
      end
    end
  end
  return true
end

--- Keep the host and its intermediates; false when memory is full (nothing else is driven out), which is remembered for
--- a minute.
function _M.put(hostname, host)
  local counted = has_certificate(hostname)
  local ok = put_intermediates(host) and held:safe_set(hostname, pack(host))
  if not ok then
    metrics.count("edge_memory_full_total")
    state:set("full", true, FULL_FOR)
  elseif (host.leaf ~= nil) ~= counted then
    progress.add("certificates", host.leaf and 1 or -1)
  end
  return ok
end

--- Say in the log, once, that a host found no room within the last minute, and once that none did.
function _M.report()
  local text =
    "full: hosts without room are read from Redis when needed; raise EDGE_CERTIFICATE_MEMORY"
  journal.change(ngx.ERR, "shared memory for certificates", state:get("full") and text or nil)
end

--- One intermediate's DER by its id, or nil.
function _M.intermediate(id)
  return held:get("i|" .. id)
end

--- Forget the host.
function _M.drop(hostname)
  if has_certificate(hostname) then
    progress.add("certificates", -1)
  end
  held:delete(hostname)
end

--- In the master, when one memory is new and the other is not: count what there is.
function _M.recount()
  local count = 0
  for _, key in ipairs(held:get_keys(0)) do
    count = count + (not key:find("[|#]") and has_certificate(key) and 1 or 0)
  end
  progress.set("certificates", count)
end

return _M
