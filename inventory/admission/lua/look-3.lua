-- The answer to a purchase-token request that is the same for all customers. Reads only, O(1).
-- KEYS  1 meta  2 stock  3 held
-- Returns {code, units left}; codes: 0 ADMITTED if it depends on the customer  4 GATE_MISSING  5 NOT_OPEN  6 PAUSED  7 ENDED  13 SOLD_OUT
local meta = redis.call('HMGET', KEYS[1], 'state', 'opens_at', 'closes_at', 'rebuilding', 'pace')
local stock = tonumber(redis.call('GET', KEYS[2]) or '')
if not meta[1] or not stock then return {4, 0} end
local time = redis.call('TIME')
local refusal = closed(meta, time[1] * 1000000 + time[2])
local has_line = (tonumber(meta[5] or '0') or 0) > 0
if refusal == 6 and has_line then return {0, stock} end -- tickets stay valid while the sale is paused
if refusal then return {refusal, stock} end
-- With a waiting room, held units may still come back if they are not paid.
if stock <= 0 and not (has_line and redis.call('EXISTS', KEYS[3]) == 1) then return {13, 0} end
return {0, stock}
