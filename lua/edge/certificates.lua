--- entry → parsed pair: what a handshake needs, from this worker's memory, shared memory or Redis.
local ffi = require("ffi")
local lrucache = require("resty.lrucache")

local held = require("edge.held")
local journal = require("edge.journal")
local loading = require("edge.loading")
local metrics = require("edge.metrics")
local sealing = require("edge.sealing")
local x509 = require("edge.x509")

local C = ffi.C

ffi.cdef([[
int SSL_use_cert_and_key(void *ssl, X509 *x, EVP_PKEY *pkey, void *chain, int override);
void SSL_set_cert_cb(void *ssl, void *callback, void *argument);
void *SSL_get_SSL_CTX(void *ssl);
void SSL_free(void *ssl);
int SSL_copy_session_id(void *to, void *from);
]])

local _M = { primary_hostname = "" }

local stacks = assert(lrucache.new(200))
local lenders = 0
local MOST_LENDERS, OFTEN = 500, 3 -- a lender takes about 10 kB
local FOREIGN_SIZE = 8 -- kB of libcrypto's memory that a pair takes and Lua's collector does not see

--- The stack of intermediates for a list of ids, shared by all hosts under the same issuer.
local function stack_of(host)
  local stack = stacks:get(host.links)
  if stack then
    return stack
  end
  local certificates = {}
  for id in host.links:gmatch("[^,]+") do
    local der = (host.intermediates or {})[id] or held.intermediate(id)
    local certificate = der and x509.certificate(der)
    if not certificate then
      return nil
    end
    certificates[#certificates + 1] = certificate
  end
  stack = { certificates = certificates, list = x509.stack(certificates) }
  stacks:set(host.links, stack)
  return stack
end

--- Leaf and key: as `published.judge` parsed them a moment ago, else from what shared memory holds.
local function parsed(hostname, host)
  if host.parsed then
    local known = host.parsed
    return known.leaf, known.key, known.is_ec
  end
  local der = sealing.open(host.kid, host.sealed, hostname, host.spki)
  local key, is_ec = nil, false
  if der then
    key, is_ec = x509.private_key(der)
  end
  return key and x509.leaf_of(key, is_ec, host.leaf), key, is_ec
end

--- A pair from what shared memory or Redis gave; nil and why.
local function parse(hostname, host)
  if not host.leaf then
    return nil, "it has no certificate"
  end
  local leaf, key, is_ec = parsed(hostname, host)
  local stack = stack_of(host)
  if not key or not leaf or not stack then
    return nil, "what is held of it cannot be parsed"
  end
  collectgarbage("step", FOREIGN_SIZE)
  return { leaf = leaf, key = key, stack = stack, is_ec = is_ec, sha256 = host.sha256 }
end

local function same(pair, host)
  return pair and pair.sha256 == host.sha256
end

--- What is told of a host beside its certificate.
local function record_of(host, entry)
  local only = _M.primary_hostname
  local primary = host.kind == "primary" and (only == "" or only == entry.name)
  return {
    primary = primary,
    theme = host.theme,
    hsts = host.hsts ~= "" and "max-age=" .. host.hsts or nil,
    domains = host.domains,
  }
end

--- Fill the entry's record; false when neither memory nor Redis nor an older entry has one.
function _M.record(entry)
  local host, word, source = loading.host(entry.name, entry.rev)
  if host then
    local record = record_of(host, entry)
    entry.record = source ~= "stale" and record or nil
    return record, host, source
  end
  return entry.last_record, nil, word
end

--- Whether there is no parsing what is held of a host: one of its intermediates is gone from shared memory.
local function lacks_intermediate(entry, host)
  return not same(entry.last_pair, host) and not stack_of(host)
end

--- The host and where it was found; nil and why. What is of no use to anybody is forgotten and read from Redis, once.
local function find_whole(entry)
  local _, host, source = _M.record(entry)
  if source == "memory" and lacks_intermediate(entry, host) then
    held.drop(entry.name)
    _, host, source = _M.record(entry)
  end
  return host, source
end

--- Fill the entry's pair from shared memory or Redis; the last good one when that fails; nil and why.
function _M.pair(entry)
  local host, source = find_whole(entry)
  local pair, err
  if host and same(entry.last_pair, host) then
    pair = entry.last_pair
  elseif host then
    pair, err = parse(entry.name, host)
    metrics.count("edge_certificate_loads_total{source=\"" .. source .. "\"}")
  end
  if pair then
    entry.pair = source ~= "stale" and pair or nil
    entry.last_pair = source == "stale" and pair or nil
    journal.about(entry.name, "revision ", entry.rev, " from ", source, ", ", pair.sha256)
    return pair
  end
  return entry.last_pair, err or source
end

--- Hand the pair to a connection; false when OpenSSL will not have it.
function _M.use(ssl, pair)
  if not pair.is_ec then
    C.SSL_certs_clear(ssl) -- (1) an EC placeholder would win over an RSA certificate
  end
  return C.SSL_use_cert_and_key(ssl, pair.leaf, pair.key, pair.stack.list, 1) == 1
end

local function free(lender)
  C.SSL_free(lender)
  lenders = lenders - 1
end

--- A connection that is never spoken over and has the pair; nil for a pair that is not used often.
local function lender_of(ssl, pair)
  if pair.lender then
    return pair.lender
  end
  pair.uses = (pair.uses or 0) + 1
  if pair.uses < OFTEN or lenders == MOST_LENDERS then
    return nil
  end
  local lender = C.SSL_new(C.SSL_get_SSL_CTX(ssl))
  if lender == nil then
    return nil
  end
  lenders = lenders + 1
  ffi.gc(lender, free)
  C.SSL_set_cert_cb(lender, nil, nil)
  pair.lender = _M.use(lender, pair) and lender or nil
  return pair.lender
end

--- Hand the pair to a connection and leave its certificate hook out; false when OpenSSL will not have it. A pair that
--- is used often is lent, with its lender's session id context: OpenSSL then need not look through it again.
function _M.use_now(ssl, pair)
  local lender = lender_of(ssl, pair)
  if lender then
    return C.SSL_copy_session_id(ssl, lender) == 1
  end
  if not _M.use(ssl, pair) then
    return false
  end
  C.SSL_set_cert_cb(ssl, nil, nil)
  return true
end

return _M
