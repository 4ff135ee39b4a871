-- Admits an order or refuses it: all checks, then all writes. One round trip, O(1); O(log called up) with a waiting room.
-- KEYS  1 meta  2 stock  3 token  4 spent  5 receipt  6 buyers  7 held  8 queued  9 admitted  10 rate  11 called  12 tickets  13 tokens  14 unpaid
-- ARGV  1 customer  2 sku  3 units  4 order id  5 digest  6 source  7 seq  8 payment method
--       9 receipt ttl s  10 spent ttl s  11 item  12 the item's rate as the limiter writes a token bucket, '' for none
--       13 token  14 the price that the customer was shown, without trailing zeros, '' for none  15 limit of orders left unpaid
-- Returns {code, order id, microseconds to retry after or price, wake, shadowed}; codes: 0 ADMITTED  1 REPLAYED  2 MISMATCH  3 SEQ_TAKEN  4 GATE_MISSING  5 NOT_OPEN
--       6 PAUSED  7 ENDED  8 TOKEN_INVALID  9 TOKEN_USED  10 QUANTITY_OVER  11 LIMIT_PER_CUSTOMER  12 BUSY  13 SOLD_OUT  14 RATE_LIMITED  18 PRICE_CHANGED  19 TOO_MANY_UNPAID
local customer, units = ARGV[1], tonumber(ARGV[3])
local receipt = redis.call('GET', KEYS[5])
if receipt then
  local owner, digest, order = receipt:match('^(%d+) (%x+) (%S+)') -- a newer release may append fields
  if owner ~= customer then return {3} end
  if digest ~= ARGV[5] then return {2} end
  return {1, order, 0, 0}
end
local meta = redis.call('HMGET', KEYS[1], 'state', 'opens_at', 'closes_at', 'rebuilding', 'sku', 'per_customer',
  'backlog', 'awake_until', 'life')
if not meta[1] then return {4} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refusal = closed(meta, now)
if refusal then return {refusal} end
local owner = redis.call('GET', KEYS[3])
if not owner then return {redis.call('GET', KEYS[4]) == customer and 9 or 8} end
if owner ~= customer or meta[5] ~= ARGV[2] then return {8} end
local per_customer = tonumber(meta[6])
if units > per_customer then return {10} end
if units + tonumber(redis.call('HGET', KEYS[6], customer) or '0') > per_customer then return {11} end
if tonumber(redis.call('HGET', KEYS[14], customer) or '0') >= tonumber(ARGV[15]) then return {19} end
local charge, shadowed, reading
if ARGV[12] ~= '' then
  local limit = cjson.decode(ARGV[12])
  reading, charge = token_bucket(KEYS[10], limit, math.min(units, limit[4] / limit[3]), now)
  shadowed = reading[1] == 0
  if shadowed and limit[2] == 1 then return {14, reading[4]} end
end
if redis.call('XLEN', KEYS[9]) >= tonumber(meta[7]) or redis.call('HEXISTS', KEYS[7], ARGV[4]) == 1 then return {12} end -- or the order id is already in use
if tonumber(redis.call('GET', KEYS[2]) or '0') < units then return {redis.call('EXISTS', KEYS[2]) == 1 and 13 or 4} end
if not is_whole(KEYS[1], KEYS[2], KEYS[7], KEYS[6], KEYS[8], KEYS[9]) then return {4} end
local present = present_terms(KEYS[1])
local version, price, currency = terms_of(KEYS[13], ARGV[13], present)
if ARGV[14] ~= '' and plain(price) ~= ARGV[14] then return {18, price} end
local line = cjson.encode({v = 1, id = ARGV[4], item = ARGV[11], customer = customer, sku = ARGV[2], units = units,
  price = price, currency = currency, source = ARGV[6], seq = ARGV[7], digest = ARGV[5], method = ARGV[8],
  at = string.format('%.0f', now), life = meta[9], terms_version = version, limit_version = present.version})
if charge then redis.call(unpack(charge)) end
redis.call('DEL', KEYS[3])
redis.call('HDEL', KEYS[13], ARGV[13])
if redis.call('ZREM', KEYS[11], customer) == 1 then redis.call('HDEL', KEYS[12], customer) end
redis.call('SET', KEYS[4], customer, 'EX', ARGV[10])
redis.call('SET', KEYS[5], customer .. ' ' .. ARGV[5] .. ' ' .. ARGV[4], 'EX', ARGV[9])
redis.call('DECRBY', KEYS[2], units)
redis.call('HINCRBY', KEYS[6], customer, units)
redis.call('HSET', KEYS[7], ARGV[4], customer .. ':' .. units)
local lines = redis.call('HGET', KEYS[8], customer)
redis.call('HSET', KEYS[8], customer, lines and (lines .. '\n' .. line) or line)
redis.call('XADD', KEYS[9], '*', 'o', line)
local wake = tonumber(meta[8] or '0') < now and 1 or 0
if wake == 1 then redis.call('HSET', KEYS[1], 'awake_until', string.format('%.0f', now + 1000000)) end
return {0, ARGV[4], wake, shadowed and 1 or 0}
