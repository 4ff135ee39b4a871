-- Takes units off sale before PostgreSQL lowers the allocation. configure puts them back if that never happens. O(1).
-- KEYS  1 meta  2 stock
-- ARGV  1 units
-- Returns 0 DONE, 1 GATE_MISSING, 2 REBUILDING, 4 TOO_FEW
local meta = redis.call('HMGET', KEYS[1], 'allocated', 'rebuilding')
if not meta[1] or redis.call('EXISTS', KEYS[2]) == 0 then return 1 end
if meta[2] then return 2 end
if tonumber(redis.call('GET', KEYS[2]) or '0') < tonumber(ARGV[1]) then return 4 end
redis.call('DECRBY', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[1], 'allocated', -tonumber(ARGV[1]))
return 0
