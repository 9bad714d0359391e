--- What Redis has published of one host: how to ask for it, and whether to believe it.
local held = require("edge.held")
local sealing = require("edge.sealing")
local theme = require("edge.theme")
local x509 = require("edge.x509")

local _M = {}

local HOST = { "rev", "state", "generation", "kind", "domains", "cert", "theme", "hsts" }
local CERTIFICATE = { "chain", "key", "spki", "sha256" }
local STATES = { active = "A", pending = "P", disabled = "D", deleted = "X" }
local LONGEST_CHAIN = 65536
local LONGEST_TEXT = 8192
local UNPARSED = "the leaf certificate cannot be parsed"
local WEAK = " has a key or signature that is too weak for OpenSSL"

--- The two commands that read one host.
function _M.commands(hostname)
  return { "hmget", "vh:host:" .. hostname, unpack(HOST) }, {
    "hmget",
    "vh:cert:" .. hostname,
    unpack(CERTIFICATE),
  }
end

--- Fields by name; nil when Redis answered with an error (wrong type) instead of values.
local function named(names, answer)
  if type(answer) ~= "table" or answer[1] == false then
    return nil
  end
  local fields = {}
  for position, name in ipairs(names) do
    fields[name] = type(answer[position]) == "string" and answer[position] or ""
  end
  return fields
end

--- One word of the index: state's letter, revision, generation; nil when that cannot be read.
function _M.word(rev, state, generation)
  local letter = STATES[state]
  if not letter or not tostring(rev):find("^%d+$") then
    return nil
  end
  return letter .. rev .. "|" .. (tostring(generation):match("^%d+$") or "0")
end

local function record(fields, held_theme)
  local text = #fields.theme <= LONGEST_TEXT and fields.theme or ""
  local domains = #fields.domains <= LONGEST_TEXT and fields.domains or ""
  return {
    asof = tonumber(fields.rev),
    kind = fields.kind == "primary" and "primary" or "tenant",
    hsts = fields.hsts:match("^%d%d?%d?%d?%d?%d?%d?%d?%d?$") or "",
    domains = domains:find("[^a-z0-9. -]") and "" or domains,
    theme = text == held_theme and text or theme.encode((theme.clean(text))),
  }
end

--- The leaf of a chain, which is the key's and has one public key with it; nil and why.
local function matching_leaf(key, is_ec, der)
  local leaf = x509.leaf_with(key, is_ec, der)
  if leaf then
    return x509.share_key(leaf, key, is_ec), UNPARSED
  end
  leaf = x509.certificate(der)
  if not leaf then
    return nil, UNPARSED
  end
  if not x509.matches(leaf, key) then
    return nil, "the key is not the certificate's"
  end
  return x509.share_key(leaf, key, is_ec), UNPARSED
end

local function check_leaf(leaf, hostname, good)
  if not x509.names(leaf, hostname) then
    return nil, "the certificate is not for this hostname"
  end
  if not x509.is_strong(leaf, true) then
    return nil, "the certificate" .. WEAK
  end
  local not_before, not_after = x509.validity(leaf)
  if not not_before or not not_after or not_after <= not_before then
    return nil, "the certificate's dates cannot be read"
  end
  if good and good.not_after > ngx.time() and not_after <= ngx.time() then
    return nil, "the certificate has expired, the one in use has not"
  end
  if good and good.not_after > ngx.time() and not_before > ngx.time() + 86400 then
    return nil, "the certificate is not valid yet, the one in use is"
  end
  return not_after
end

--- Why an intermediate is not to be sent, or nil; those that are held may be.
local function fault_of(id, der)
  if held.intermediate(id) then
    return nil
  end
  local certificate = x509.certificate(der)
  if not certificate then
    return "a certificate of the chain cannot be parsed"
  end
  local is_strong = x509.is_strong(certificate)
  x509.free_certificate(certificate)
  return not is_strong and "a certificate of the chain" .. WEAK or nil
end

local function id_of(der)
  return ngx.encode_base64(ngx.sha1_bin(der), true)
end

local function intermediates(ders)
  local by_id, ids = {}, {}
  for position = 2, #ders do
    local id = id_of(ders[position])
    local fault = fault_of(id, ders[position])
    if fault then
      return nil, fault
    end
    by_id[id], ids[#ids + 1] = ders[position], id
  end
  return by_id, table.concat(ids, ",")
end

local function open_key(fields, hostname)
  local kid, sealed = sealing.split(fields.key)
  if not kid then
    return nil, sealed
  end
  local der, err = sealing.open(kid, sealed, hostname, fields.spki)
  local key, is_ec = nil, false
  if der then
    key, is_ec = x509.private_key(der)
  end
  if not key then
    return nil, err or "the key cannot be parsed"
  end
  return key, kid, sealed, is_ec
end

local CARRIED = { "sha256", "not_after", "kid", "spki", "key_size", "links", "sealed", "leaf" }

--- Put the certificate that served so far under the new record.
local function carry(host, good)
  for _, name in ipairs(CARRIED) do
    host[name] = good[name]
  end
end

--- Whether this is, byte for byte, the certificate that is held: that was checked when it came.
local function is_held(good, fields, ders)
  if good.sha256 ~= fields.sha256 or good.spki ~= fields.spki or good.leaf ~= ders[1] then
    return false
  end
  local kid, sealed = sealing.split(fields.key)
  local ids = {}
  for position = 2, #ders do
    ids[position - 1] = id_of(ders[position])
  end
  return good.kid == kid and good.sealed == sealed and good.links == table.concat(ids, ",")
end

--- Check a published certificate in full and add it to `host`; nil and why when it is not to be served.
local function add_certificate(host, fields, hostname, good)
  if #fields.chain > LONGEST_CHAIN or #fields.spki > 64 or #fields.sha256 > 64 then
    return nil, "the chain is too long"
  end
  local ders, err = x509.chain(fields.chain)
  if not ders then
    return nil, err
  end
  if good and is_held(good, fields, ders) then
    carry(host, good)
    return true
  end
  local key, kid, sealed, is_ec = open_key(fields, hostname)
  if not key then
    return nil, kid
  end
  local leaf
  leaf, err = matching_leaf(key, is_ec, ders[1])
  if not leaf then
    return nil, err
  end
  local not_after
  not_after, err = check_leaf(leaf, hostname, good)
  if not not_after then
    return nil, err
  end
  local by_id, links = intermediates(ders)
  if not by_id then
    return nil, links
  end
  host.sha256, host.not_after, host.kid, host.spki = fields.sha256, not_after, kid, fields.spki
  host.sealed, host.leaf, host.key_size = sealed, ders[1], #sealed
  host.intermediates, host.links = by_id, links
  host.parsed = { leaf = leaf, key = key, is_ec = is_ec }
  return true
end

--- Judge the two answers for `hostname`: the host to hold and its index word, and, where its new
--- certificate is refused, why (`good`, what is held now, then keeps serving under the new record).
--- nil and why when even the record cannot be read.
function _M.judge(hostname, answers_host, answers_certificate, good)
  local fields = named(HOST, answers_host)
  local word = fields and _M.word(fields.rev, fields.state, fields.generation)
  if not word then
    return nil, "its record cannot be read"
  end
  local host = record(fields, good and good.theme)
  host.word = word
  if fields.cert == "" then
    return host, word
  end
  good = good and good.leaf and good or nil
  local certificate = named(CERTIFICATE, answers_certificate)
  local ok, err = nil, "its certificate cannot be read"
  if certificate and certificate.sha256 ~= fields.cert then
    err = "record and certificate are of different publishes"
  elseif certificate and certificate.sha256:find("^%x+$") and certificate.spki:find("^%x+$") then
    ok, err = add_certificate(host, certificate, hostname, good)
  end
  if not ok and good then
    carry(host, good)
  end
  return host, word, not ok and err or nil
end

--- Free what `judge` parsed, where nobody is going to serve it from this worker.
function _M.release(host)
  if host and host.parsed then
    x509.free_certificate(host.parsed.leaf)
    x509.free_key(host.parsed.key)
    host.parsed = nil
  end
end

--- The host as shared memory has it, to be passed to `judge` as `good`.
_M.good = held.get

return _M
