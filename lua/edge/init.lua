--- setup(): loads every module now, so that a mistake stops nginx and not a handshake; start(): each worker's timers.
require("resty.core")

local settings = require("edge.settings")

local branding = require("edge.branding")
local certificates = require("edge.certificates")
local clients = require("edge.clients")
local connection = require("edge.connection")
local handshake = require("edge.handshake")
local held = require("edge.held")
local heartbeat = require("edge.heartbeat")
local hosts = require("edge.hosts")
local index = require("edge.index")
local journal = require("edge.journal")
local memory = require("edge.memory")
local metrics = require("edge.metrics")
local plain = require("edge.plain")
local progress = require("edge.progress")
local reading = require("edge.reading")
local redis_url = require("edge.redis_url")
local sealing = require("edge.sealing")
local syncer = require("edge.syncer")
require("edge.gate")
require("edge.status")

local _M = {}

local REFRESH_EVERY = 1

--- In the master: read `<prefix>/edge.env`, refuse what is wrong, prepare every module.
function _M.setup(prefix)
  local values = settings.load(prefix)
  local target = redis_url.parse(values.EDGE_REDIS_URL)
  local primary = values.EDGE_HEARTBEAT_REDIS_URL
  local beat_target = redis_url.parse(primary ~= "" and primary or values.EDGE_REDIS_URL)
  target.pool, beat_target.pool = "edge-read", "edge-beat"
  local timeout = values.EDGE_REDIS_TIMEOUT
  if progress.setup() then
    index.recount()
    held.recount()
  end
  memory.setup()
  sealing.setup(values.EDGE_KEYRING)
  connection.setup()
  hosts.setup(values.EDGE_CACHED_HOSTS)
  reading.setup(target, timeout)
  clients.setup(values.EDGE_CLIENT_LIMITS == "on" and values.EDGE_CLIENT_HANDSHAKES or nil)
  handshake.setup(values.EDGE_SESSION_TICKETS)
  heartbeat.setup(beat_target, timeout, values.EDGE_ID)
  plain.setup(values.EDGE_PUBLIC_HTTPS_PORT)
  branding.setup(values.EDGE_MODOBOA_ROOT .. "/frontend")
  journal.setup(values.EDGE_LOG_LINES)
  certificates.primary_hostname = values.PRIMARY_HOSTNAME
  _M.target, _M.timeout = target, timeout
end

local function refresh()
  metrics.flush()
  journal.refresh()
  journal.flush()
end

--- In each worker: stand by as syncer, add up metrics.
function _M.start()
  math.randomseed(ngx.worker.pid() + ngx.now() * 1000)
  syncer.start(_M.target, _M.timeout)
  ngx.timer.every(REFRESH_EVERY, refresh)
end

return _M
