--- Certificates and keys as libcrypto has them, by FFI: parse DER, check, hand to a connection.
local ffi = require("ffi")

local C = ffi.C

ffi.cdef([[
typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;
X509 *d2i_X509(X509 **a, const unsigned char **in, long len);
void X509_free(X509 *x);
X509 *X509_new_ex(void *libctx, const char *propq);
int X509_set_pubkey(X509 *x, EVP_PKEY *pkey);
void *X509_get_X509_PUBKEY(const X509 *x);
int X509_PUBKEY_set(void **x, EVP_PKEY *pkey);
void X509_PUBKEY_free(void *key);
int i2d_X509_PUBKEY(const void *key, unsigned char **out);
void CRYPTO_free(void *ptr, const char *file, int line);
int X509_check_purpose(X509 *x, int id, int ca);
void *OSSL_LIB_CTX_new(void);
void *OSSL_PROVIDER_load(void *libctx, const char *name);
void *d2i_ECPrivateKey(void **a, const unsigned char **in, long len);
void *EC_KEY_OpenSSL(void);
void *EC_KEY_METHOD_new(const void *method);
int EC_KEY_set_method(void *key, const void *method);
EVP_PKEY *d2i_AutoPrivateKey(EVP_PKEY **a, const unsigned char **in, long len);
EVP_PKEY *EVP_PKEY_new(void);
int EVP_PKEY_assign(EVP_PKEY *pkey, int type, void *key);
void EVP_PKEY_free(EVP_PKEY *pkey);
int X509_check_private_key(const X509 *x, const EVP_PKEY *pkey);
int X509_check_host(X509 *x, const char *name, size_t length, unsigned int flags, char **peer);
const void *X509_get0_notAfter(const X509 *x);
const void *X509_get0_notBefore(const X509 *x);
int ASN1_TIME_diff(int *days, int *seconds, const void *from, const void *to);
void *OPENSSL_sk_new_null(void);
int OPENSSL_sk_push(void *stack, const void *data);
void OPENSSL_sk_free(void *stack);
void ERR_clear_error(void);
const void *TLS_method(void);
void *SSL_CTX_new(const void *method);
void *SSL_new(void *ctx);
void SSL_certs_clear(void *ssl);
int SSL_use_certificate(void *ssl, X509 *x);
long SSL_ctrl(void *ssl, int command, long number, void *pointer);
]])

local EVP_PKEY_EC = 408
local NAMES = 4 + 32 -- no partial wildcards, and never the common name
local ADD_TO_CHAIN = 89
local DAY = 86400
local BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
local ANY_PURPOSE = -1

local _M = {}

local cursor = ffi.new("const unsigned char *[1]")
local parsing = ffi.new("X509 *[1]")
local written, made = ffi.new("unsigned char *[1]"), ffi.new("void *[1]")
local days, seconds = ffi.new("int[1]"), ffi.new("int[1]")

--- A library context without any algorithm: a certificate that is parsed in it keeps its public key as bytes, which
--- is nine tenths of the parsing. Without OpenSSL 3: nil.
local function bare_context()
  local context = C.OSSL_LIB_CTX_new()
  return C.OSSL_PROVIDER_load(context, "null") ~= nil and context or nil
end

--- A copy of OpenSSL's own way with EC keys: a key that has one of its own is used as it is, and not copied into a
--- provider at its first signature. Where that is no longer offered: nil.
local function own_method()
  return C.EC_KEY_METHOD_new(C.EC_KEY_OpenSSL())
end

local has_bare, bare = pcall(bare_context)
local has_method, method = pcall(own_method)
local scales = C.SSL_new(C.SSL_CTX_new(C.TLS_method())) -- a connection that is never spoken over

--- Parse `der` in a library context (nil: the usual one).
local function parse(der, context)
  cursor[0] = ffi.cast("const unsigned char *", der)
  local start = cursor[0]
  parsing[0] = context and C.X509_new_ex(context, nil) or nil
  local x509 = C.d2i_X509(parsing, cursor, #der)
  C.ERR_clear_error()
  if x509 == nil then
    return nil
  end
  x509 = ffi.gc(x509, C.X509_free)
  return cursor[0] - start == #der and x509 or nil
end

--- An X509 that frees itself, or nil when `der` is none, or has more behind it.
function _M.certificate(der)
  return parse(der)
end

--- The same for the leaf of a key that is known to be its own: one public key in memory for both, and OpenSSL need
--- not compare them in each handshake.
function _M.leaf_of(key, is_ec, der)
  local x509 = parse(der, is_ec and has_bare and bare or nil)
  if not x509 then
    return nil
  end
  C.X509_check_purpose(x509, ANY_PURPOSE, 0) -- (1) reads the extensions; SHA-1 it must not miss later
  return _M.share_key(x509, key, is_ec)
end

--- The DER of a SubjectPublicKeyInfo, or nil.
local function der_of(spki)
  written[0] = nil
  local size = spki ~= nil and C.i2d_X509_PUBKEY(spki, written) or 0
  if size <= 0 then
    return nil
  end
  local der = ffi.string(written[0], size)
  C.CRYPTO_free(written[0], "", 0)
  return der
end

--- A key's SubjectPublicKeyInfo in DER, or nil.
local function public_key(key)
  made[0] = nil
  local ok = C.X509_PUBKEY_set(made, key) == 1
  local der = ok and der_of(made[0]) or nil
  C.X509_PUBKEY_free(made[0])
  return der
end

--- The leaf in `der` when the public key in it is, byte for byte, that of `key` (share it before the leaf is used);
--- nil where that takes a closer look.
function _M.leaf_with(key, is_ec, der)
  local x509 = is_ec and has_bare and parse(der, bare) or nil
  local own = x509 and der_of(C.X509_get_X509_PUBKEY(x509))
  local alike = own ~= nil and own == public_key(key)
  C.ERR_clear_error()
  return alike and x509 or nil
end

--- Let certificate and private key, which match, have one public key; RSA keys stay as they are. The certificate.
function _M.share_key(x509, key, is_ec)
  local shared = not is_ec or C.X509_set_pubkey(x509, key) == 1
  C.ERR_clear_error()
  return shared and x509 or nil
end

--- An EVP_PKEY from SEC 1 (EC, 9 µs) or PKCS#8 DER, and whether it is EC; nil when it is neither.
function _M.private_key(der)
  cursor[0] = ffi.cast("const unsigned char *", der)
  local ec = C.d2i_ECPrivateKey(nil, cursor, #der)
  if ec ~= nil then
    if has_method then
      C.EC_KEY_set_method(ec, method)
    end
    local pkey = ffi.gc(C.EVP_PKEY_new(), C.EVP_PKEY_free)
    C.EVP_PKEY_assign(pkey, EVP_PKEY_EC, ec)
    return pkey, true
  end
  cursor[0] = ffi.cast("const unsigned char *", der)
  local pkey = C.d2i_AutoPrivateKey(nil, cursor, #der)
  C.ERR_clear_error()
  if pkey == nil then
    return nil
  end
  return ffi.gc(pkey, C.EVP_PKEY_free), false
end

--- Free a certificate now: the garbage collector sees sixteen bytes of it, not ten thousand.
function _M.free_certificate(x509)
  C.X509_free(ffi.gc(x509, nil))
end

--- Free a private key now.
function _M.free_key(pkey)
  C.EVP_PKEY_free(ffi.gc(pkey, nil))
end

--- A stack of X509 to send behind the leaf; `certificates` must outlive it.
function _M.stack(certificates)
  local stack = ffi.gc(C.OPENSSL_sk_new_null(), C.OPENSSL_sk_free)
  for _, x509 in ipairs(certificates) do
    C.OPENSSL_sk_push(stack, x509)
  end
  return stack
end

--- Unix seconds of an ASN.1 time, or nil.
local function unix(asn1_time)
  if C.ASN1_TIME_diff(days, seconds, nil, asn1_time) ~= 1 then
    C.ERR_clear_error()
    return nil
  end
  return ngx.time() + days[0] * DAY + seconds[0]
end

--- not_before and not_after in unix seconds; nil where one cannot be read.
function _M.validity(x509)
  return unix(C.X509_get0_notBefore(x509)), unix(C.X509_get0_notAfter(x509))
end

--- Whether the certificate is for `hostname` (RFC 9525 §6.3).
function _M.names(x509, hostname)
  local verdict = C.X509_check_host(x509, hostname, #hostname, NAMES, nil)
  C.ERR_clear_error()
  return verdict == 1
end

--- Whether the certificate's public key is the private key's.
function _M.matches(x509, pkey)
  local verdict = C.X509_check_private_key(x509, pkey)
  C.ERR_clear_error()
  return verdict == 1
end

--- Whether OpenSSL would hand out a leaf (whose key is its own by now), or a certificate above one: at its security
--- level it does not with a key or a signature that is too weak, and then the whole handshake fails.
function _M.is_strong(x509, is_leaf)
  local verdict = is_leaf and C.SSL_use_certificate(scales, x509)
    or C.SSL_ctrl(scales, ADD_TO_CHAIN, 1, x509)
  C.SSL_certs_clear(scales)
  C.ERR_clear_error()
  return verdict == 1
end

--- The DER of every certificate in a PEM text, leaf first; nil and why when there is none or one is broken.
function _M.chain(pem)
  local ders, position = {}, 1
  while true do
    local _, before = pem:find(BEGIN, position, true)
    if not before then
      break
    end
    position = pem:find(END, before, true)
    if not position then
      return nil, "the chain holds no complete certificate"
    end
    local der = ngx.decode_base64((pem:sub(before + 1, position - 1):gsub("%s+", "")))
    if not der then
      return nil, "the chain is not valid PEM"
    end
    ders[#ders + 1] = der
  end
  if #ders == 0 then
    return nil, "the chain holds no complete certificate"
  end
  return ders
end

return _M
