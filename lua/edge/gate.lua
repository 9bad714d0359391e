--- The gate on every request of port 443: Host live, and the name of this very connection; says who it is to Modoboa.
local certificates = require("edge.certificates")
local guard = require("edge.guard")
local hosts = require("edge.hosts")
local journal = require("edge.journal")
local metrics = require("edge.metrics")

local count = metrics.count
local exit = ngx.exit
local find = hosts.find_now
local named = require("edge.connection").named

local _M = {}

local OK = "edge_requests_total{result=\"ok\"}"
local NOT_LIVE = "edge_requests_total{result=\"not_live\"}"
local MISDIRECTED = "edge_requests_total{result=\"misdirected\"}"
local UNAVAILABLE = "edge_requests_total{result=\"unavailable\"}"
local INTROSPECTION = "^/api/o/introspect"
local OPEN_TO_TENANTS = {
  "^/api/o/authorize/?$",
  "^/api/o/token/?$",
  "^/api/o/revoke_token/?$",
  "^/api/o/userinfo/?$",
  "^/api/o/logout/?$",
  "^/api/o/%.well%-known/",
}

local function refuse(status, result, name)
  count(result)
  if name then
    journal.about(name, "request refused: ", status)
  end
  return exit(status)
end

--- The access phase of every location (`again`: behind a redirect inside of nginx, counted already).
--- Order: 404 before 421, so that a dead name says nothing about live ones.
function _M.run(again)
  local var = ngx.var
  local entry = find(var.host)
  if not entry or not entry.active then
    return refuse(404, NOT_LIVE, entry and entry.name)
  end
  if named() ~= entry.id then
    return refuse(421, MISDIRECTED, entry.name)
  end
  local record = entry.record or certificates.record(entry)
  if not record then
    return refuse(503, UNAVAILABLE, entry.name)
  end
  var[record.primary and "primary" or "tenant"] = entry.name
  if record.theme ~= "" then
    var.theme = record.theme
  end
  if record.hsts then
    var.hsts = record.hsts
  end
  if not again then
    count(OK)
  end
  if journal.watching then
    journal.about(entry.name, "request let in: revision ", entry.rev)
  end
  return entry, record
end

local function is_open(uri)
  for _, pattern in ipairs(OPEN_TO_TENANTS) do
    if uri:find(pattern) then
      return true
    end
  end
  return false
end

--- The access phase below /api/o/: on tenants' hosts only what a login needs; introspection from this machine only.
function _M.oauth()
  local _, record = _M.run()
  local uri = ngx.var.uri
  local introspects = uri:find(INTROSPECTION)
  if introspects and not (record.primary and ngx.var.remote_addr == "127.0.0.1") then
    return exit(404)
  end
  if not record.primary and not is_open(uri) then
    return exit(404)
  end
end

guard.watch_answers("gate", _M, { "run", "oauth" })

return _M
