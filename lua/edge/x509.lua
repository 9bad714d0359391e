--- Certificates and keys as libcrypto has them, by FFI: parse DER, check, hand to a connection.
local ffi = require("ffi")

local C = ffi.C

ffi.cdef([[
typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;
X509 *d2i_X509(X509 **a, const unsigned char **in, long len);
void X509_free(X509 *x);
void *d2i_ECPrivateKey(void **a, const unsigned char **in, long len);
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
]])

local EVP_PKEY_EC = 408
local NO_PARTIAL_WILDCARDS = 4
local DAY = 86400

local _M = {}

local cursor = ffi.new("const unsigned char *[1]")
local days, seconds = ffi.new("int[1]"), ffi.new("int[1]")

--- An X509 that frees itself, or nil when `der` is none, or has more behind it.
function _M.certificate(der)
  cursor[0] = ffi.cast("const unsigned char *", der)
  local start = cursor[0]
  local x509 = C.d2i_X509(nil, cursor, #der)
  if x509 == nil then
    C.ERR_clear_error()
    return nil
  end
  x509 = ffi.gc(x509, C.X509_free)
  return cursor[0] - start == #der and x509 or nil
end

--- An EVP_PKEY from SEC 1 (EC, 9 µs) or PKCS#8 DER, and whether it is EC; nil when it is neither.
function _M.private_key(der)
  cursor[0] = ffi.cast("const unsigned char *", der)
  local ec = C.d2i_ECPrivateKey(nil, cursor, #der)
  if ec ~= nil then
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
  local verdict = C.X509_check_host(x509, hostname, #hostname, NO_PARTIAL_WILDCARDS, nil)
  C.ERR_clear_error()
  return verdict == 1
end

--- Whether the certificate's public key is the private key's.
function _M.matches(x509, pkey)
  local verdict = C.X509_check_private_key(x509, pkey)
  C.ERR_clear_error()
  return verdict == 1
end

--- The DER of every certificate in a PEM text, leaf first; nil and why when there is none or one is broken.
function _M.chain(pem)
  local ders = {}
  for body in pem:gmatch("%-%-%-%-%-BEGIN CERTIFICATE%-%-%-%-%-(.-)%-%-%-%-%-END CERTIFICATE") do
    local der = ngx.decode_base64((body:gsub("%s+", "")))
    if not der then
      return nil, "the chain is not valid PEM"
    end
    ders[#ders + 1] = der
  end
  local _, begun = pem:gsub("%-%-%-%-%-BEGIN CERTIFICATE", "")
  if #ders == 0 or begun ~= #ders then
    return nil, "the chain holds no complete certificate"
  end
  return ders
end

return _M
