-- Whether a claim is still the caller's, and what others changed or made since it was one. ARGV[6]: '1' if the caller has found that
-- the process that claimed it is gone (one of the same machine, whose ledger it has).
local w = read(ref)
if not w or w.s == 'over' or w.g or now - w.c > 7000000 then return {'ok', mark, 'lost'} end
if w.m ~= me then
  if ARGV[6] ~= '1' or machine(w.m) ~= machine(me) then return {'ok', mark, 'lost'} end
  -- Whoever waited for its answer has lost it with that process.
  w.m, w.l = me, 1
  write(ref, w)
end
local found = redis.call('ZRANGEBYSCORE', touched, w.c, now, 'LIMIT', 0, 5001)
if #found > 5000 then return {'ok', mark, 'lost'} end
local own, about = {}, ' ' .. ARGV[5] .. ' '
for _, one in ipairs(found) do
  if string.sub(one, 2, 1 + #about) == about then own[#own + 1] = one end
end
return {'ok', mark, 'mine', own}
