-- What the shop and the routes are told of a request, whatever the client said: nobody chooses a side, or a time.
-- x-canary-bucket: 0 to 99, for a customer always the same; the routes send the lowest ones to the canary.
-- x-request-start: when the request was here as a whole, so the shop knows how long it has waited for its turn.
-- The customer is who the access token names (whether it is genuine is for the shop to say), else the session, else the address.
local bit = require("bit")
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local LONGEST = 2048
local six_bits = {}
for i = 1, #alphabet do six_bits[alphabet:byte(i)] = i - 1 end

local function decoded(text)
  local out, held, count = {}, 0, 0
  for i = 1, #text do
    held = bit.bor(bit.lshift(bit.band(held, 0xff), 6), six_bits[text:byte(i)])
    count = count + 6
    if count >= 8 then
      count = count - 8
      out[#out + 1] = string.char(bit.band(bit.rshift(held, count), 0xff))
    end
  end
  return table.concat(out)
end

local function customer(handle)
  local headers = handle:headers()
  local claims = (headers:get("authorization") or ""):match("^%a+%s+[%w_-]+%.([%w_-]+)%.")
  if claims and #claims <= LONGEST then
    local id = decoded(claims):match('"user_id":%s*"?(%d+)')
    if id then return "customer " .. id end
  end
  local session = (headers:get("cookie") or ""):match("sessionid=(%w+)")
  if session then return "session " .. session end
  return "address " .. handle:streamInfo():downstreamRemoteAddress():gsub(":%d+$", "")
end

-- FNV-1a, 32 bits (draft-eastlake-fnv), folded once so that the low digits depend on all bits.
local function hashed(text)
  local hash = bit.tobit(2166136261)
  for i = 1, #text do
    hash = bit.bxor(hash, text:byte(i))
    hash = bit.tobit(hash + bit.lshift(hash, 1) + bit.lshift(hash, 4) + bit.lshift(hash, 7) + bit.lshift(hash, 8)
      + bit.lshift(hash, 24))
  end
  return bit.bxor(hash, bit.rshift(hash, 15)) % 4294967296
end

function envoy_on_request(handle)
  local headers = handle:headers()
  headers:replace("x-canary-bucket", tostring(hashed(customer(handle)) % 100))
  headers:replace("x-request-start", string.format("t=%.3f", handle:timestamp() / 1000))
end
