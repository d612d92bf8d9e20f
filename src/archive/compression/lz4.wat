;; LZ4 blocks (lz4: doc/lz4_Block_format.md), and the stripes of XXH32 (xxHash: doc/xxhash_spec.md).
;;
;; Copies are made in whole vectors of 16 bytes, without a look at how many are wanted: up to 16 bytes behind an end are read and written, so behind the
;; packed bytes and behind the room for the content the memory must have as many that are nobody's. Everything else stays within what it is told.
;;
;; lz4-module.ts holds this module's bytes; `node scripts/assemble-wasm.ts` makes them, and a test holds the two together.
(module
  ;; The size never changes, so that views of it stay valid. lz4-memory.ts says what lies where.
  (import "walkback" "memory" (memory 1 65536))

  ;; A match of a short distance repeats what lies between: at 16 times the distance, which bytes of those make a vector of whole and cut repetitions.
  (data (i32.const 0)
    "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00"
    "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00"
    "\00\01\00\01\00\01\00\01\00\01\00\01\00\01\00\01"
    "\00\01\02\00\01\02\00\01\02\00\01\02\00\01\02\00"
    "\00\01\02\03\00\01\02\03\00\01\02\03\00\01\02\03"
    "\00\01\02\03\04\00\01\02\03\04\00\01\02\03\04\00"
    "\00\01\02\03\04\05\00\01\02\03\04\05\00\01\02\03"
    "\00\01\02\03\04\05\06\00\01\02\03\04\05\06\00\01"
    "\00\01\02\03\04\05\06\07\00\01\02\03\04\05\06\07"
    "\00\01\02\03\04\05\06\07\08\00\01\02\03\04\05\06"
    "\00\01\02\03\04\05\06\07\08\09\00\01\02\03\04\05"
    "\00\01\02\03\04\05\06\07\08\09\0a\00\01\02\03\04"
    "\00\01\02\03\04\05\06\07\08\09\0a\0b\00\01\02\03"
    "\00\01\02\03\04\05\06\07\08\09\0a\0b\0c\00\01\02"
    "\00\01\02\03\04\05\06\07\08\09\0a\0b\0c\0d\00\01"
    "\00\01\02\03\04\05\06\07\08\09\0a\0b\0c\0d\0e\00"
    ;; How many bytes of that vector are whole repetitions, by distance.
    "\00\10\10\0f\10\0f\0c\0e\10\09\0a\0b\0c\0d\0e\0f")

  ;; Unpacks the block between $read and $inputEnd to $written and behind, up to $outputEnd. Matches may reach back to $window.
  ;; Gives where the content ends, or 0 for a block that is damaged or finds no room.
  (func (export "decompress")
    (param $read i32) (param $inputEnd i32) (param $written i32) (param $outputEnd i32) (param $window i32) (result i32)
    (local $token i32) (local $size i32) (local $more i32) (local $distance i32) (local $from i32) (local $end i32) (local $repeated v128)
    (block $damaged
      (loop $sequences
        (br_if $damaged (i32.ge_u (local.get $read) (local.get $inputEnd)))
        (local.set $token (i32.load8_u (local.get $read)))
        (local.set $read (i32.add (local.get $read) (i32.const 1)))

        ;; Literals.
        (local.set $size (i32.shr_u (local.get $token) (i32.const 4)))
        (if (i32.eq (local.get $size) (i32.const 15))
          (then
            (loop $lengthBytes
              (br_if $damaged (i32.ge_u (local.get $read) (local.get $inputEnd)))
              (local.set $more (i32.load8_u (local.get $read)))
              (local.set $read (i32.add (local.get $read) (i32.const 1)))
              (local.set $size (i32.add (local.get $size) (local.get $more)))
              (br_if $lengthBytes (i32.eq (local.get $more) (i32.const 255))))))
        (br_if $damaged (i32.gt_u (local.get $size) (i32.sub (local.get $inputEnd) (local.get $read))))
        (br_if $damaged (i32.gt_u (local.get $size) (i32.sub (local.get $outputEnd) (local.get $written))))
        (v128.store (local.get $written) (v128.load (local.get $read)))
        (if (i32.gt_u (local.get $size) (i32.const 16))
          (then
            (local.set $from (local.get $read))
            (local.set $end (i32.add (local.get $written) (local.get $size)))
            (local.set $read (i32.add (local.get $read) (local.get $size)))
            (loop $vectors
              (local.set $from (i32.add (local.get $from) (i32.const 16)))
              (local.set $written (i32.add (local.get $written) (i32.const 16)))
              (v128.store (local.get $written) (v128.load (local.get $from)))
              (br_if $vectors (i32.lt_u (i32.add (local.get $written) (i32.const 16)) (local.get $end))))
            (local.set $written (local.get $end)))
          (else
            (local.set $read (i32.add (local.get $read) (local.get $size)))
            (local.set $written (i32.add (local.get $written) (local.get $size)))))
        ;; The last sequence has no match.
        (if (i32.eq (local.get $read) (local.get $inputEnd)) (then (return (local.get $written))))

        ;; The match.
        (local.set $distance (i32.load16_u (local.get $read)))
        (local.set $read (i32.add (local.get $read) (i32.const 2)))
        (local.set $size (i32.and (local.get $token) (i32.const 15)))
        (if (i32.eq (local.get $size) (i32.const 15))
          (then
            (loop $lengthBytes
              (br_if $damaged (i32.ge_u (local.get $read) (local.get $inputEnd)))
              (local.set $more (i32.load8_u (local.get $read)))
              (local.set $read (i32.add (local.get $read) (i32.const 1)))
              (local.set $size (i32.add (local.get $size) (local.get $more)))
              (br_if $lengthBytes (i32.eq (local.get $more) (i32.const 255))))))
        (local.set $size (i32.add (local.get $size) (i32.const 4)))
        ;; A distance of 0 is the largest of all here.
        (br_if $damaged
          (i32.ge_u (i32.sub (local.get $distance) (i32.const 1)) (i32.sub (local.get $written) (local.get $window))))
        (br_if $damaged (i32.gt_u (local.get $size) (i32.sub (local.get $outputEnd) (local.get $written))))
        (local.set $from (i32.sub (local.get $written) (local.get $distance)))
        (local.set $end (i32.add (local.get $written) (local.get $size)))
        (if (i32.ge_u (local.get $distance) (i32.const 16))
          (then
            (v128.store (local.get $written) (v128.load (local.get $from)))
            (if (i32.gt_u (local.get $size) (i32.const 16))
              (then
                (loop $vectors
                  (local.set $from (i32.add (local.get $from) (i32.const 16)))
                  (local.set $written (i32.add (local.get $written) (i32.const 16)))
                  (v128.store (local.get $written) (v128.load (local.get $from)))
                  (br_if $vectors (i32.lt_u (i32.add (local.get $written) (i32.const 16)) (local.get $end)))))))
          (else
            (local.set $repeated
              (i8x16.swizzle
                (v128.load (local.get $from))
                (v128.load (i32.shl (local.get $distance) (i32.const 4)))))
            (local.set $distance (i32.load8_u offset=256 (local.get $distance)))
            (loop $repetitions
              (v128.store (local.get $written) (local.get $repeated))
              (local.set $written (i32.add (local.get $written) (local.get $distance)))
              (br_if $repetitions (i32.lt_u (local.get $written) (local.get $end))))))
        (local.set $written (local.get $end))
        (br $sequences)))
    (i32.const 0))

  ;; Mixes the stripes of 16 bytes from $start to $end into the four lanes at $lanes. Not with vectors: their multiplication takes longer than four others.
  ;; 0x85ebca77 is the second prime of XXH32, 0x9e3779b1 the first.
  (func (export "mixStripes") (param $lanes i32) (param $start i32) (param $end i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32)
    (local.set $a (i32.load (local.get $lanes)))
    (local.set $b (i32.load offset=4 (local.get $lanes)))
    (local.set $c (i32.load offset=8 (local.get $lanes)))
    (local.set $d (i32.load offset=12 (local.get $lanes)))
    (block $ended
      (loop $stripes
        (br_if $ended (i32.ge_u (local.get $start) (local.get $end)))
        (local.set $a (i32.mul (i32.rotl (i32.add (local.get $a) (i32.mul (i32.load (local.get $start)) (i32.const 0x85ebca77))) (i32.const 13)) (i32.const 0x9e3779b1)))
        (local.set $b (i32.mul (i32.rotl (i32.add (local.get $b) (i32.mul (i32.load offset=4 (local.get $start)) (i32.const 0x85ebca77))) (i32.const 13)) (i32.const 0x9e3779b1)))
        (local.set $c (i32.mul (i32.rotl (i32.add (local.get $c) (i32.mul (i32.load offset=8 (local.get $start)) (i32.const 0x85ebca77))) (i32.const 13)) (i32.const 0x9e3779b1)))
        (local.set $d (i32.mul (i32.rotl (i32.add (local.get $d) (i32.mul (i32.load offset=12 (local.get $start)) (i32.const 0x85ebca77))) (i32.const 13)) (i32.const 0x9e3779b1)))
        (local.set $start (i32.add (local.get $start) (i32.const 16)))
        (br $stripes)))
    (i32.store (local.get $lanes) (local.get $a))
    (i32.store offset=4 (local.get $lanes) (local.get $b))
    (i32.store offset=8 (local.get $lanes) (local.get $c))
    (i32.store offset=12 (local.get $lanes) (local.get $d))))
