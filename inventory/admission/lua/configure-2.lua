-- Updates the terms of an open gate. A change of the allocated units changes the stock by the difference. O(1). May run twice.
-- KEYS  1 meta  2 stock
-- ARGV  1 version  2 allocated  3 expected version  4 expected allocated units  5.. field, value pairs of the terms
-- Returns 0 DONE, 1 GATE_MISSING (or its stock), 2 REBUILDING, 3 FENCED if the gate is not as expected
local meta = redis.call('HMGET', KEYS[1], 'allocated', 'version', 'rebuilding')
if not meta[1] or redis.call('EXISTS', KEYS[2]) == 0 then return 1 end
if meta[3] then return 2 end
if tonumber(ARGV[3]) ~= tonumber(meta[2]) or tonumber(ARGV[4]) ~= tonumber(meta[1]) then return 3 end
local difference = tonumber(ARGV[2]) - tonumber(meta[1])
if difference ~= 0 then redis.call('INCRBY', KEYS[2], difference) end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'allocated', ARGV[2], unpack(ARGV, 5))
return 0
